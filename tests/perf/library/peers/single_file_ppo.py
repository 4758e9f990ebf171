"""PPO in a single file as people write it after CleanRL: its structure and hyperparameters.

Hyperparameters are those of vwxyzjn/cleanrl, cleanrl/ppo.py; the code is written here.
"""

import json
import sys
from typing import Any

import gymnasium
import numpy as np
import torch
from evaluation import Stopwatch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn
from torch.distributions import Categorical

ENVIRONMENTS, HORIZON, EPOCHS, MINIBATCHES = 4, 128, 4, 4
GAMMA, LAMBDA, CLIP, ENTROPY, VALUE, NORM, RATE = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5, 2.5e-4


def layer(inputs: int, outputs: int, gain: float = 2**0.5) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.constant_(linear.bias, 0.0)
    return linear


def network(outputs: int, gain: float) -> nn.Sequential:
    return nn.Sequential(
        layer(4, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, gain)
    )


def main(seed: int, steps: int) -> dict[str, Any]:
    """Train for so many steps."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    actor, critic = network(2, 0.01), network(1, 1.0)
    parameters = [*actor.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE, eps=1e-5)
    environments = SyncVectorEnv(
        [lambda: gymnasium.make("CartPole-v1")] * ENVIRONMENTS,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    shape = HORIZON, ENVIRONMENTS
    seen, actions = torch.zeros(*shape, 4), torch.zeros(shape)
    log_probabilities, rewards = torch.zeros(shape), torch.zeros(shape)
    dones, values = torch.zeros(shape), torch.zeros(shape)
    stopwatch = Stopwatch()
    first, _ = environments.reset(seed=seed)
    observation, done = torch.as_tensor(first), torch.zeros(ENVIRONMENTS)
    updates = steps // (HORIZON * ENVIRONMENTS)
    for update in range(updates):
        optimiser.param_groups[0]["lr"] = RATE * (1.0 - update / updates)
        for t in range(HORIZON):
            seen[t], dones[t] = observation, done
            with torch.no_grad():
                distribution = Categorical(logits=actor(observation))
                action = distribution.sample()
                values[t] = critic(observation).flatten()
            actions[t], log_probabilities[t] = action, distribution.log_prob(action)
            after, reward, ended, cut, _ = environments.step(action.numpy())
            rewards[t] = torch.as_tensor(reward)
            observation = torch.as_tensor(after)
            done = torch.as_tensor(np.logical_or(ended, cut)).float()
        with torch.no_grad():
            following, advantage = critic(observation).flatten(), torch.zeros(ENVIRONMENTS)
            advantages = torch.zeros(shape)
            for t in reversed(range(HORIZON)):
                goes_on = 1.0 - (done if t == HORIZON - 1 else dones[t + 1])
                next_value = following if t == HORIZON - 1 else values[t + 1]
                error = rewards[t] + GAMMA * next_value * goes_on - values[t]
                advantages[t] = advantage = error + GAMMA * LAMBDA * goes_on * advantage
            targets = advantages + values
        batch = [
            part.reshape(-1, *part.shape[2:])
            for part in (seen, actions, log_probabilities, advantages, targets)
        ]
        for _ in range(EPOCHS):
            for rows in np.split(np.random.permutation(HORIZON * ENVIRONMENTS), MINIBATCHES):
                states, chosen, old, gain, target = (part[rows] for part in batch)
                distribution = Categorical(logits=actor(states))
                ratio = (distribution.log_prob(chosen) - old).exp()
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                policy_loss = torch.max(-gain * ratio, -gain * ratio.clamp(1 - CLIP, 1 + CLIP))
                value_loss = 0.5 * (critic(states).flatten() - target).square()
                entropy = distribution.entropy()
                loss = (policy_loss + VALUE * value_loss - ENTROPY * entropy).mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, NORM)
                optimiser.step()
        stopwatch.look((update + 1) * HORIZON * ENVIRONMENTS, lambda s: greedy(actor, s))
    return stopwatch.result(updates * HORIZON * ENVIRONMENTS)


@torch.no_grad()
def greedy(actor: nn.Module, observations: Any) -> Any:
    return actor(torch.as_tensor(observations)).argmax(-1).numpy()


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
