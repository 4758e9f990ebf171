"""Stable-Baselines3's PPO on CartPole-v1 with the hyperparameters of its zoo.

https://github.com/DLR-RM/rl-baselines3-zoo, hyperparams/ppo.yml, CartPole-v1.
"""

import json
import sys
from typing import Any

import torch
from evaluation import Stopwatch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env


class Watch(BaseCallback):
    """Looks at the stopwatch after every rollout."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        super().__init__()
        self.stopwatch = stopwatch

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model = self.model
        self.stopwatch.look(
            self.num_timesteps, lambda seen: model.predict(seen, deterministic=True)[0]
        )


def main(seed: int, steps: int) -> dict[str, Any]:
    """Train for so many steps."""
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=8, seed=seed),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=lambda left: 0.001 * left,
        clip_range=lambda left: 0.2 * left,
        seed=seed,
        device="cpu",
    )
    stopwatch = Stopwatch()
    model.learn(steps, callback=Watch(stopwatch))
    return stopwatch.result(model.num_timesteps)


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
