"""Lepton's own environments behind Gymnasium's two interfaces: VectorEnv and Env."""

from collections.abc import Sequence
from operator import index
from typing import Any

import gymnasium
import numpy as np
from array_api_compat import array_namespace
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from lepton.environments.drawing import Picture
from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Scenario, with_parts
from lepton.environments.spaces import misfit, shown
from lepton.errors import InputError

Info = dict[str, Any]


class BatchedVectorEnv(VectorEnv[Any, Any, Any]):
    """A scenario as a VectorEnv: n environments step in a handful of array operations.

    Row i of `reset(seed=s)` sees the random numbers of `SingleEnv.reset(seed=s + i)`; of a list of
    seeds it has the one at i, and another at random for None.
    Episodes restart in the step that ends them (SAME_STEP); `info["final_obs"]` then holds, in
    the rows marked by `info["_final_obs"]`, the observations that they ended with.

    Rewards are in the scenario's own units; `score` makes scores of their sums.

    With a `device` (such as "cuda"), states, observations, rewards and flags are torch tensors
    there, and so are the actions that `step` takes; otherwise all are NumPy arrays.

    Actions are checked in the first step after a reset alone, since checks would cost more than
    the step of a simple scenario does. Raises InputError for those, and before the first reset.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(
        self,
        scenario: Scenario[Any],
        num_envs: int,
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        self.scenario = scenario
        self.num_envs = num_envs
        self.render_mode = _checked_render_mode(render_mode)
        self.device = device
        self.score = scenario.score
        self.single_observation_space = scenario.observation_space
        self.single_action_space = scenario.action_space
        self.observation_space = batch_space(scenario.observation_space, num_envs)
        self.action_space = batch_space(scenario.action_space, num_envs)
        self._rows = self._put(np.arange(num_envs, dtype=np.int64))
        self._xp = array_namespace(self._rows)
        self._seeds = self._xp.zeros_like(self._rows)
        self._draws = self._xp.zeros_like(self._rows)
        self._steps = self._xp.zeros_like(self._rows)
        self._state: Any = None
        self._is_first_step = True
        self._no_noise = uniform(self._seeds, self._draws, 0)

    def _put(self, values: NDArray[Any]) -> Array:
        """A NumPy array where this environment lives."""
        if self.device is None:
            return values
        import torch  # only environments on a device need it

        return torch.as_tensor(values, device=self.device)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Info | None = None
    ) -> tuple[Array, Info]:
        """Begin a new episode in every row; options are ignored."""
        seeds = None
        if seed is None or isinstance(seed, int | np.integer):
            one = None if seed is None else int(seed)
            super().reset(seed=one)
            if one is None and self._state is None:
                one = self._draw_seed()
            if one is not None:
                seeds = self._rows + one
        else:
            seeds = self._put(self._listed(seed))
        if seeds is not None:
            self._seeds, self._draws = seeds, self._xp.zeros_like(self._rows)
        self._state = self.scenario.reset(self.num_envs, self._noise(self.scenario.reset_noise))
        self._steps = self._xp.zeros_like(self._rows)
        self._is_first_step = True
        return self.scenario.observe(self._state), {}

    def _listed(self, seeds: Sequence[int | None]) -> NDArray[np.int64]:
        """A seed for each row."""
        try:
            numbers = [self._draw_seed() if one is None else index(one) for one in seeds]
        except TypeError:
            numbers = []
        if len(numbers) != self.num_envs:
            raise InputError(
                f"reset takes one seed, of which row i uses seed + i, or {self.num_envs}, one for "
                f"each row; not {seeds!r}"
            )
        return np.array(numbers, np.int64)

    def _draw_seed(self) -> int:
        return int(self.np_random.integers(2**62))

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, Info]:
        """One step in every row, and a new episode in those that ended."""
        scenario = self.scenario
        if self.device is None:
            actions = np.asarray(actions)
        if self._is_first_step:
            self._check(actions)
        noise = self._noise(scenario.step_noise)
        self._state, reward, terminated = scenario.step(self._state, actions, noise)
        self._steps = self._steps + 1
        truncated = self._steps >= scenario.max_steps
        observation = scenario.observe(self._state)
        done = terminated | truncated
        info: Info = {}
        if self.device is not None:
            info = {"final_obs": observation, "_final_obs": done}
            observation = self._restart_masked(done, observation)
        elif done.any():
            info = {"final_obs": observation.copy(), "_final_obs": done}
            self._restart_rows(done.nonzero()[0], observation)
        return observation, reward, terminated, truncated, info

    def _check(self, actions: Array) -> None:
        """Raises InputError for a batch of actions that can't be done."""
        _begun(self._state)
        values, space = _numpy(actions), self.single_action_space
        shape = (self.num_envs, *(space.shape or ()))
        if values.shape != shape:
            raise InputError(
                f"these actions have shape {values.shape}; {self.num_envs} environments that act "
                f"in {shown(space)} take {shape}"
            )
        if misfit(self.action_space, values):
            told = ((row, misfit(space, value)) for row, value in enumerate(values))
            row, wrong = next((row, wrong) for row, wrong in told if wrong)
            raise InputError(f"this can't be done: the action of row {row} {wrong}")
        self._is_first_step = False

    def _restart_rows(self, rows: NDArray[np.intp], observation: Array) -> None:
        """New episodes in a few rows, whose observations are overwritten."""
        scenario = self.scenario
        numbers = uniform(self._seeds[rows], self._draws[rows], scenario.reset_noise)
        self._draws[rows] += 1
        fresh = scenario.reset(len(rows), numbers)
        # Copies, since the parts of a state may share memory with each other or be read-only. Their
        # order in memory stays, as steps are slower where it differs between parts.
        parts = [part.copy(order="K") for part in self._state]
        for part, new in zip(parts, fresh, strict=True):
            part[rows] = new
        self._state = with_parts(self._state, parts)
        self._steps[rows] = 0
        observation[rows] = scenario.observe(fresh)

    def _restart_masked(self, done: Array, observation: Array) -> Array:
        """New episodes where `done`, without waiting for the device to say where that is."""
        xp, scenario = self._xp, self.scenario
        numbers = uniform(self._seeds, self._draws, scenario.reset_noise)
        self._draws = self._draws + xp.astype(done, xp.int64)
        fresh = scenario.reset(self.num_envs, numbers)
        self._state = with_parts(
            self._state,
            [_where(xp, done, new, old) for new, old in zip(fresh, self._state, strict=True)],
        )
        self._steps = xp.where(done, xp.zeros_like(self._steps), self._steps)
        return _where(xp, done, scenario.observe(fresh), observation)

    def _noise(self, width: int) -> Array:
        if not width:
            return self._no_noise
        numbers = uniform(self._seeds, self._draws, width)
        self._draws = self._draws + 1
        return numbers

    def render(self) -> tuple[Picture, ...] | None:
        """Pictures of the first few environments."""
        if self.render_mode != "rgb_array":
            return None
        state = _begun(self._state)
        return tuple(_picture(self.scenario, state, row) for row in range(self.num_envs))

    def metrics(self) -> dict[str, Array]:
        """What the scenario wants people to know of the present states, each (n,)."""
        state = _begun(self._state)
        return {} if self.scenario.metrics is None else self.scenario.metrics(state)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Everything that the next steps depend on, as arrays that share no memory with it."""
        state = _begun(self._state)
        parts = {f"state.{i}": _numpy(values).copy() for i, values in enumerate(state)}
        return parts | {
            "seeds": _numpy(self._seeds).copy(),
            "draws": _numpy(self._draws).copy(),
            "steps": _numpy(self._steps).copy(),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> Array:
        """Continue from what `get_state` returned; the observations at that point."""
        if self._state is None:
            self.reset(seed=0)
        parts = [self._put(state[f"state.{i}"].copy()) for i in range(len(state) - 3)]
        self._state = with_parts(self._state, parts)
        self._seeds = self._put(state["seeds"].copy())
        self._draws = self._put(state["draws"].copy())
        self._steps = self._put(state["steps"].copy())
        return self.scenario.observe(self._state)


class SingleEnv(gymnasium.Env[Any, Any]):
    """A scenario as a Gymnasium Env: a batch of one, without autoreset."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, scenario: Scenario[Any], render_mode: str | None = None) -> None:
        self.scenario = scenario
        self.render_mode = _checked_render_mode(render_mode)
        self.score = scenario.score
        self.observation_space = scenario.observation_space
        self.action_space = scenario.action_space
        self._seed: NDArray[np.int64] | None = None
        self._draws = np.zeros(1, np.int64)
        self._steps = 0
        self._state: Any = None

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        """Begin a new episode; options are ignored."""
        super().reset(seed=seed)
        if seed is not None or self._seed is None:
            value = seed if seed is not None else int(self.np_random.integers(2**62))
            self._seed = np.array([value], np.int64)
            self._draws = np.zeros(1, np.int64)
        self._steps = 0
        self._state = self.scenario.reset(1, self._noise(self.scenario.reset_noise))
        return self.scenario.observe(self._state)[0], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        """One step. Raises InputError for an action that is not in the space, or before a reset."""
        state = _begun(self._state)
        if wrong := misfit(self.action_space, action):
            raise InputError(f"this can't be done: the action {wrong}")
        noise = self._noise(self.scenario.step_noise)
        self._state, reward, terminated = self.scenario.step(state, np.asarray(action)[None], noise)
        self._steps += 1
        observation = self.scenario.observe(self._state)[0]
        truncated = self._steps >= self.scenario.max_steps
        return observation, float(reward[0]), bool(terminated[0]), truncated, {}

    def render(self) -> Picture | None:
        """A picture of the present state."""
        if self.render_mode != "rgb_array":
            return None
        return _picture(self.scenario, _begun(self._state), 0)

    def _noise(self, width: int) -> Array:
        assert self._seed is not None
        numbers = uniform(self._seed, self._draws, width)
        if width:
            self._draws = self._draws + 1
        return numbers


def _checked_render_mode(mode: str | None) -> str | None:
    if mode not in (None, "rgb_array"):
        raise InputError(f"render mode {mode} is not had here: it is rgb_array or None")
    return mode


def _begun(state: Any) -> Any:
    """The state. Raises InputError where there is none yet."""
    if state is None:
        raise InputError("no episode has begun: call reset() first")
    return state


def _where(xp: Any, rows: Array, new: Array, old: Array) -> Array:
    """`new` in the marked rows, whatever axes follow the first."""
    return xp.where(xp.reshape(rows, (-1,) + (1,) * (old.ndim - 1)), new, old)


def _numpy(values: Array) -> NDArray[Any]:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _picture(scenario: Scenario[Any], state: Any, row: int) -> Picture:
    assert scenario.render is not None, scenario.name
    return scenario.render(with_parts(state, [_numpy(part)[row : row + 1] for part in state]))
