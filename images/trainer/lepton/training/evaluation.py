"""Evaluation: the greedy policy in environments that training does not use."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from lepton.agents.agent import Agent
from lepton.environments.environment import Environment
from lepton.errors import InputError
from lepton.spec.report import Evaluation
from lepton.training.collector import score_function

MAX_BATCH, MAX_OWN_BATCH = 64, 1024
"""Environments that an evaluation steps together at most; lepton's own step as one."""
MAX_EPISODE_STEPS = 100_000
"""An episode longer than this is taken to be endless."""


class Evaluator:
    """Plays whole episodes with the greedy policy. Environments are made once and kept."""

    def __init__(self, environment: Environment, agent: Agent, episodes: int) -> None:
        self._environment = environment
        self._agent = agent
        self._episodes = episodes
        self._batch: VectorEnv[Any, Any, Any] | None = None

    def evaluate(self, seed: int, check: Callable[[], None] = lambda: None) -> Evaluation:
        """Mean and standard deviation of the episodes' rewards. The same seed gives the same
        episodes. Calls `check`, which may raise, at each step. Raises InputError when episodes
        don't end."""
        rewards = self.play(seed, check)
        threshold, mean = self._agent.reward_threshold, float(rewards.mean())
        return Evaluation(
            episodes=len(rewards),
            reward_mean=mean,
            reward_standard_deviation=float(rewards.std()),
            threshold=threshold,
            passed=None if threshold is None else mean >= threshold,
        )

    def play(
        self, seed: int, check: Callable[[], None] = lambda: None
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The scores of the episodes: the sums of their rewards where there is no other.

        Every environment plays its share of the episodes: to take those that end first would
        favour short ones.
        """
        most = MAX_OWN_BATCH if self._environment.is_own else MAX_BATCH
        count = min(self._episodes, most)
        if self._batch is None:
            self._batch = self._environment.make_batch(count)
        shares = np.full(count, self._episodes // count)
        shares[: self._episodes % count] += 1
        observations, _ = self._batch.reset(seed=seed)
        running, lengths = np.zeros(count), np.zeros(count, np.int64)
        rewards: list[float] = []
        while (shares > 0).any():
            check()
            actions = self._agent.act_on_batch(self._agent.flatten(observations))
            # The reset step of NEXT_STEP environments has reward 0 and ends nothing.
            observations, reward, terminated, truncated, _ = self._batch.step(actions)
            running += reward
            lengths += 1
            for row in np.flatnonzero(terminated | truncated):
                if shares[row] > 0:
                    rewards.append(float(running[row]))
                shares[row] -= 1
                running[row], lengths[row] = 0.0, 0
            if ((lengths > MAX_EPISODE_STEPS) & (shares > 0)).any():
                raise InputError(
                    f"an episode of {self._environment.name} did not end within "
                    f"{MAX_EPISODE_STEPS:,} steps; let it be truncated (max_episode_steps)"
                )
        scores: np.ndarray[Any, np.dtype[np.float64]] = score_function(self._batch)(
            np.array(rewards)
        )
        return scores

    def close(self) -> None:
        """Close the environments."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None
