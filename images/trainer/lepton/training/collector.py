"""Collector: a learner acts in a batch of environments, and what happened is written down."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from lepton.agents.agent import Agent
from lepton.algorithms.learner import Learner
from lepton.algorithms.rollout import Rollout


@dataclass
class Episodes:
    """Episodes that ended during a rollout, and the steps it took."""

    steps: int
    scores: list[float]
    """Sums of rewards, or what the environment's `score` makes of them."""
    lengths: list[int]


def score_function(environments: VectorEnv[Any, Any, Any]) -> Callable[[Any], Any]:
    """What judges an episode by the sum of its rewards: lepton's own environments have a score,
    of others it is the sum itself."""
    score: Callable[[Any], Any] = getattr(environments.unwrapped, "score", lambda returns: returns)
    return score


def reward_scale(environments: VectorEnv[Any, Any, Any], learner: Learner) -> float:
    """By what rewards are multiplied for this learner."""
    scenario = getattr(environments.unwrapped, "scenario", None)
    points = 1.0 if scenario is None else float(scenario.points_per_reward)
    return points if learner.scales_rewards else 1.0


class StepCollector(Protocol):
    """Steps a batch of environments, rollout after rollout, across episodes."""

    def collect(self, check: Callable[[], None] = ...) -> tuple[Rollout, Episodes]:
        """Make the learner's `horizon` steps in every environment; calls `check`, which may
        raise, at each."""

    @property
    def continues_exactly(self) -> bool:
        """Whether the environments' state can be saved, so that episodes survive a restart."""

    def state(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, besides the agent."""

    def restore(self, state: dict[str, Any], fresh_seed: int) -> None:
        """Continue from `state`; environments that can't be restored begin new episodes."""

    def close(self) -> None:
        """Close the environments."""


class Collector:
    """For environments that live in NumPy: foreign ones, and all without a GPU."""

    def __init__(
        self,
        environments: VectorEnv[Any, Any, Any],
        agent: Agent,
        learner: Learner,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self._environments = environments
        self._agent = agent
        self._learner = learner
        self._device = device or torch.device("cpu")
        self._generator = torch.Generator(self._device).manual_seed(seed)
        mode = environments.metadata["autoreset_mode"]
        self._score = score_function(environments)
        self._reward_scale = reward_scale(environments, learner)
        self._resets_on_next_step = mode == AutoresetMode.NEXT_STEP
        first, _ = environments.reset(seed=seed)
        self._observation = agent.flatten(first)
        count = environments.num_envs
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, np.int64)
        self._resetting = np.zeros(count, np.bool_)

    @torch.inference_mode()
    def collect(self, check: Callable[[], None] = lambda: None) -> tuple[Rollout, Episodes]:
        """Make `horizon` steps in every environment."""
        agent, learner, device = self._agent, self._learner, self._device
        horizon, count = learner.horizon, self._environments.num_envs
        to_environment = agent.network.actuator.to_environment
        # Made outside of inference mode's tensors, since learning differentiates through them.
        with torch.inference_mode(False):
            observations = torch.empty(horizon + 1, count, self._observation.shape[1])
            rewards = torch.empty(horizon, count)
            terminated = torch.empty(horizon, count, dtype=torch.bool)
            done = torch.empty(horizon, count, dtype=torch.bool)
            valid = torch.ones(horizon, count, dtype=torch.bool)
        rewards_np, terminated_np = rewards.numpy(), terminated.numpy()
        done_np, valid_np = done.numpy(), valid.numpy()
        noise = learner.noise(horizon, count, self._generator)
        actions: list[Tensor] = []
        finals: list[tuple[int, int, Tensor]] = []
        episodes = Episodes(0, [], [])
        for t in range(horizon):
            check()
            observations[t] = self._observation
            action = learner.act(observations[t].to(device), noise[t])
            actions.append(action)
            after, reward, ended, cut, info = self._environments.step(to_environment(action))
            ends = np.logical_or(ended, cut)
            rewards_np[t] = reward * self._reward_scale
            terminated_np[t], done_np[t] = ended, ends
            if self._resets_on_next_step:
                np.logical_not(self._resetting, out=valid_np[t])
            self._observation = agent.flatten(after)
            self._returns += reward
            self._lengths += valid_np[t]
            if ends.any():
                if not self._resets_on_next_step:
                    cut_rows = np.flatnonzero(cut & ~np.asarray(ended)).tolist()
                    finals += [(t, row, self._final_observation(info, row)) for row in cut_rows]
                self._finish(np.flatnonzero(ends), episodes)
            self._resetting = ends
        observations[horizon] = self._observation
        episodes.steps = int(valid_np.sum())
        with torch.inference_mode(False):
            size = observations.shape[-1]
            rollout = Rollout(
                observations=observations.to(device),
                actions=torch.stack(actions).clone(),
                rewards=rewards.to(device),
                terminated=terminated.to(device),
                done=done.to(device),
                valid=valid.to(device),
                final_index=(
                    torch.tensor([t for t, _, _ in finals], dtype=torch.int64, device=device),
                    torch.tensor([row for _, row, _ in finals], dtype=torch.int64, device=device),
                ),
                final_observations=torch.stack([f.clone() for _, _, f in finals]).to(device)
                if finals
                else torch.empty(0, size, device=device),
            )
        return rollout, episodes

    def _final_observation(self, info: dict[str, Any], row: int) -> Tensor:
        """The flattened last observation of the episode that ended in this row."""
        final = info["final_obs"]
        if isinstance(final, dict):
            one: Any = {name: np.asarray(part[row])[None] for name, part in final.items()}
        elif isinstance(final, tuple):
            one = tuple(np.asarray(part[row])[None] for part in final)
        else:
            value = final[row]
            if isinstance(value, dict):
                one = {name: np.asarray(part)[None] for name, part in value.items()}
            elif isinstance(value, tuple):
                one = tuple(np.asarray(part)[None] for part in value)
            else:
                one = np.asarray(value)[None]
        return self._agent.flatten(one)[0]

    def _finish(self, rows: NDArray[np.intp], episodes: Episodes) -> None:
        episodes.scores.extend(self._score(self._returns[rows]).tolist())
        episodes.lengths.extend(self._lengths[rows].tolist())
        self._returns[rows] = 0.0
        self._lengths[rows] = 0

    @property
    def continues_exactly(self) -> bool:
        """Whether the environments' state can be saved, so that episodes survive a restart."""
        return hasattr(self._environments.unwrapped, "get_state")

    def state(self) -> dict[str, Any]:
        """Everything that the next rollout depends on, besides the agent."""
        state: dict[str, Any] = {
            "generator": self._generator.get_state(),
            "returns": torch.from_numpy(self._returns.copy()),
            "lengths": torch.from_numpy(self._lengths.copy()),
            "resetting": torch.from_numpy(self._resetting.copy()),
            "environments": None,
        }
        if self.continues_exactly:
            parts = self._environments.unwrapped.get_state()  # type: ignore[attr-defined]
            state["environments"] = {name: torch.from_numpy(a) for name, a in parts.items()}
        return state

    def restore(self, state: dict[str, Any], fresh_seed: int) -> None:
        """Continue from `state`; environments that can't be restored begin new episodes."""
        self._generator.set_state(state["generator"])
        if state["environments"] is None or not self.continues_exactly:
            first, _ = self._environments.reset(seed=fresh_seed)
            self._observation = self._agent.flatten(first)
            return
        parts = {name: tensor.numpy() for name, tensor in state["environments"].items()}
        observation = self._environments.unwrapped.set_state(parts)  # type: ignore[attr-defined]
        self._observation = self._agent.flatten(observation)
        self._returns = state["returns"].numpy().copy()
        self._lengths = state["lengths"].numpy().copy()
        self._resetting = state["resetting"].numpy().copy()

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()
