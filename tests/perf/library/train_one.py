"""Trains one agent, as the example manifest or the arguments say, and prints what it reached."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from lepton import Agent, Environment, Trainer
from lepton.cli.manifest import read_manifest


def from_manifest(path: str, seed: int, episodes: int) -> dict[str, Any]:
    """The job of a manifest, with another seed and a larger final evaluation."""
    spec = read_manifest(path).spec
    assert spec.environment is not None
    agent = spec.agent
    assert agent is not None
    return train(
        Environment.from_spec(spec.environment),
        algorithm=agent.algorithm,
        hyperparameters=agent.hyperparameters,
        threshold=agent.reward_threshold,
        steps=spec.trainer.step_limit if spec.trainer else None,
        seed=seed,
        episodes=episodes,
    )


def train(
    environment: Environment,
    *,
    algorithm: str,
    hyperparameters: dict[str, Any],
    threshold: float | None,
    steps: int | None,
    seed: int,
    episodes: int,
) -> dict[str, Any]:
    """Train until the threshold is reached, or for so many steps; judge with `episodes` new
    episodes."""
    agent = Agent(
        environment.action_space,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        reward_threshold=threshold,
    )
    trainer = Trainer(environment, agent, max_steps=steps, seed=seed, progress=False)
    begin = time.process_time()
    result = trainer.train()
    seconds = time.process_time() - begin
    trainer._evaluation_episodes = episodes
    trainer._evaluator = None
    judged = trainer.evaluate()
    return {
        "reward": judged.reward_mean,
        "error": judged.reward_standard_deviation / judged.episodes**0.5,
        "steps": result.steps,
        "seconds": seconds,
    }


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """A manifest's path, or an environment's id and the rest of `train`."""
    if "manifest" in arguments:
        path = str(Path(arguments.pop("manifest")))
        return from_manifest(path, **arguments)
    count = arguments.pop("count", None)
    return train(Environment(arguments.pop("environment"), count=count), **arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
