"""Lepton's own environments behind Gymnasium's two interfaces: VectorEnv and Env."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Scenario, State

Info = dict[str, Any]


class BatchedVectorEnv(VectorEnv[Any, Any, Any]):
    """A scenario as a VectorEnv: n environments step in a handful of array operations.

    Row i of `reset(seed=s)` sees the random numbers of `SingleEnv.reset(seed=s + i)`.
    Episodes restart in the step that ends them (SAME_STEP); `info["final_obs"]` then holds, in
    the rows marked by `info["_final_obs"]`, the observations that they ended with.
    """

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        scenario: Scenario,
        num_envs: int,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.scenario = scenario
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.max_steps = max_episode_steps or scenario.max_steps
        self.single_observation_space = scenario.observation_space
        self.single_action_space = scenario.action_space
        self.observation_space = batch_space(scenario.observation_space, num_envs)
        self.action_space = batch_space(scenario.action_space, num_envs)
        self._rows = np.arange(num_envs, dtype=np.uint64)
        self._seeds = np.zeros(num_envs, np.uint64)
        self._draws = np.zeros(num_envs, np.uint64)
        self._steps = np.zeros(num_envs, np.int64)
        self._state: State = ()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: Info | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Begin a new episode in every row; options are ignored."""
        if isinstance(seed, list):
            raise TypeError("pass one seed; row i uses seed + i")
        super().reset(seed=seed)
        if seed is not None:
            self._seeds = np.uint64(seed) + self._rows
            self._draws[:] = 0
        elif not self._state:
            self._seeds = np.uint64(self.np_random.integers(2**63)) + self._rows
        self._state = self.scenario.reset(self.num_envs, self._noise(self.scenario.reset_noise))
        self._steps[:] = 0
        return self.scenario.observe(self._state), {}

    def step(
        self, actions: Array
    ) -> tuple[NDArray[np.float32], Array, NDArray[np.bool_], NDArray[np.bool_], Info]:
        """One step in every row, and a new episode in those that ended."""
        scenario = self.scenario
        noise = self._noise(scenario.step_noise)
        self._state, reward, terminated = scenario.step(self._state, np.asarray(actions), noise)
        self._steps += 1
        truncated = self._steps >= self.max_steps
        observation = scenario.observe(self._state)
        done = terminated | truncated
        if not done.any():
            return observation, reward, terminated, truncated, {}
        rows = done.nonzero()[0]
        final = observation.copy()
        fresh = scenario.reset(len(rows), self._noise(scenario.reset_noise, rows))
        for values, new in zip(self._state, fresh, strict=True):
            values[rows] = new
        self._steps[rows] = 0
        observation[rows] = scenario.observe(fresh)
        info = {"final_obs": final, "_final_obs": done}
        return observation, reward, terminated, truncated, info

    def _noise(self, width: int, rows: Array | slice = slice(None)) -> Array:
        seeds = self._seeds[rows]
        if not width:
            return np.empty((len(seeds), 0))
        numbers = uniform(seeds, self._draws[rows], width)
        self._draws[rows] += np.uint64(1)
        return numbers

    def get_state(self) -> dict[str, Array]:
        """Everything that the next steps depend on, as arrays that share no memory with it."""
        parts = {f"state.{i}": values.copy() for i, values in enumerate(self._state)}
        # Signed, since not every file format has unsigned 64-bit integers.
        return parts | {
            "seeds": self._seeds.view(np.int64).copy(),
            "draws": self._draws.view(np.int64).copy(),
            "steps": self._steps.copy(),
        }

    def set_state(self, state: dict[str, Array]) -> NDArray[np.float32]:
        """Continue from what `get_state` returned; the observations at that point."""
        self._state = tuple(state[f"state.{i}"].copy() for i in range(len(state) - 3))
        self._seeds = state["seeds"].astype(np.int64).view(np.uint64)
        self._draws = state["draws"].astype(np.int64).view(np.uint64)
        self._steps = state["steps"].copy()
        return self.scenario.observe(self._state)


class SingleEnv(gymnasium.Env[Any, Any]):
    """A scenario as a Gymnasium Env: a batch of one, without time limit or autoreset."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, scenario: Scenario, render_mode: str | None = None) -> None:
        self.scenario = scenario
        self.render_mode = render_mode
        self.observation_space = scenario.observation_space
        self.action_space = scenario.action_space
        self._seed: NDArray[np.uint64] | None = None
        self._draws = np.zeros(1, np.uint64)
        self._state: State = ()

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[NDArray[np.float32], Info]:
        """Begin a new episode; options are ignored."""
        super().reset(seed=seed)
        if seed is not None or self._seed is None:
            value = seed if seed is not None else int(self.np_random.integers(2**63))
            self._seed = np.array([value], np.uint64)
            self._draws[:] = 0
        self._state = self.scenario.reset(1, self._noise(self.scenario.reset_noise))
        return self.scenario.observe(self._state)[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, Info]:
        """One step; the time limit is the business of the wrapper that gymnasium.make adds."""
        noise = self._noise(self.scenario.step_noise)
        self._state, reward, terminated = self.scenario.step(
            self._state, np.asarray(action)[None], noise
        )
        observation = self.scenario.observe(self._state)[0]
        return observation, float(reward[0]), bool(terminated[0]), False, {}

    def _noise(self, width: int) -> Array:
        if not width:
            return np.empty((1, 0))
        assert self._seed is not None
        numbers = uniform(self._seed, self._draws, width)
        self._draws += np.uint64(1)
        return numbers
