"""The same evaluation for all peers: greedy CartPole episodes, outside of the clock."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.scenarios import make_scenario

EPISODES = 32
SOLVED = 475.0
EVERY_STEPS = 8192


class Stopwatch:
    """Measures training and leaves evaluations out; notes when the task was first solved."""

    def __init__(self) -> None:
        self.seconds_to_solve: float | None = None
        self.steps_to_solve: int | None = None
        self._next_evaluation = EVERY_STEPS
        self._environments = BatchedVectorEnv(make_scenario("CartPole"), EPISODES)
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Spent training so far."""
        return time.perf_counter() - self._begin

    def look(self, steps: int, act: Callable[[Any], Any]) -> None:
        """Evaluate if it is time to; `act` maps observations (n, 4) to actions (n,)."""
        if self.seconds_to_solve is not None or steps < self._next_evaluation:
            return
        self._next_evaluation += EVERY_STEPS
        before = time.perf_counter()
        if self._mean_reward(act) >= SOLVED:
            self.seconds_to_solve = before - self._begin
            self.steps_to_solve = steps
        self._begin += time.perf_counter() - before

    def _mean_reward(self, act: Callable[[Any], Any]) -> float:
        observations, _ = self._environments.reset(seed=10**6)
        running, total = np.ones(EPISODES, np.bool_), 0.0
        while running.any():
            observations, reward, terminated, truncated, _ = self._environments.step(
                np.asarray(act(observations))
            )
            total += float(reward[running].sum())
            running &= ~(terminated | truncated)
        return total / EPISODES

    def result(self, steps: int) -> dict[str, Any]:
        """What the benchmark reads."""
        return {
            "steps_per_second": steps / self.seconds,
            "seconds_to_solve": self.seconds_to_solve,
            "steps_to_solve": self.steps_to_solve,
        }
