"""DeviceCollector: rollouts in environments that live on the agent's device and never leave it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lepton.agents.agent import Agent
from lepton.algorithms.learner import Learner
from lepton.algorithms.rollout import Rollout
from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.spaces import flatten_on_device
from lepton.training.collector import Episodes, reward_scale


class DeviceCollector:
    """For lepton's own environments with a `device`.

    Within a rollout nothing asks the device for a value, so that it is never waited for.
    """

    def __init__(
        self, environments: BatchedVectorEnv, agent: Agent, learner: Learner, seed: int
    ) -> None:
        assert environments.device is not None
        self._environments = environments
        self._in_space = agent.network.actuator.in_space
        self._learner = learner
        self._reward_scale = reward_scale(environments, learner)
        self._flatten = flatten_on_device(environments.single_observation_space)
        self._device = torch.device(environments.device)
        self._generator = torch.Generator(self._device).manual_seed(seed)
        first, _ = environments.reset(seed=seed)
        self._observation = self._flatten(first)
        self._returns = torch.zeros(environments.num_envs, device=self._device)
        self._lengths = torch.zeros(environments.num_envs, device=self._device)

    @torch.no_grad()
    def collect(self, check: Callable[[], None] = lambda: None) -> tuple[Rollout, Episodes]:
        """Make `horizon` steps in every environment."""
        learner = self._learner
        shape = learner.horizon, len(self._returns)
        noise = learner.noise(*shape, self._generator)
        steps: list[tuple[Tensor, ...]] = []
        observations = [self._observation]
        for t in range(learner.horizon):
            check()
            action = learner.act(self._observation, noise[t])
            after, reward, terminated, truncated, info = self._environments.step(
                self._in_space(action)
            )
            done = terminated | truncated
            self._returns = self._returns + reward
            self._lengths = self._lengths + 1.0
            final = self._flatten(info["final_obs"])
            steps.append((action, reward, terminated, done, final, self._returns, self._lengths))
            self._returns = self._returns.masked_fill(done, 0.0)
            self._lengths = self._lengths.masked_fill(done, 0.0)
            self._observation = self._flatten(after)
            observations.append(self._observation)
        actions, rewards, terminated, done, finals, returns, lengths = (
            torch.stack(parts) for parts in zip(*steps, strict=True)
        )
        cut = (done & ~terminated).nonzero(as_tuple=True)
        rollout = Rollout(
            observations=torch.stack(observations),
            actions=actions,
            rewards=rewards.float() * self._reward_scale,
            terminated=terminated,
            done=done,
            valid=torch.ones_like(done),
            final_index=(cut[0], cut[1]),
            final_observations=finals[cut],
        )
        scores = self._environments.score(returns[done].double())
        episodes = Episodes(
            steps=done.numel(),
            scores=scores.tolist(),
            lengths=lengths[done].long().tolist(),
        )
        return rollout, episodes

    @property
    def continues_exactly(self) -> bool:
        """They always do."""
        return True

    def state(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, besides the agent."""
        parts = self._environments.get_state()
        return {
            "generator": self._generator.get_state(),
            "returns": self._returns,
            "lengths": self._lengths,
            "environments": {name: torch.from_numpy(a) for name, a in parts.items()},
        }

    def restore(self, state: dict[str, Any], fresh_seed: int) -> None:
        """Continue from `state`."""
        self._generator.set_state(state["generator"])
        parts = {name: tensor.numpy() for name, tensor in state["environments"].items()}
        self._observation = self._flatten(self._environments.set_state(parts))
        self._returns = state["returns"].to(self._device)
        self._lengths = state["lengths"].to(self._device)

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()
