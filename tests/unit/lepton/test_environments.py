"""Environments: lepton's own CartPole, and those of others by name, entry point and class."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from lepton import Environment, InputError, TrainingError
from lepton.environments.noise import uniform
from lepton.environments.scenarios import cartpole


class Corridor(gymnasium.Env[Any, Any]):
    """Ends with reward 1 after a few steps."""

    observation_space = gymnasium.spaces.Discrete(8)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 3) -> None:
        self.length, self.place = length, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0
        return 0, {}

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.place += 1
        return self.place, 1.0, self.place >= self.length, False, {}


def test_cartpole_follows_the_same_trajectory_as_gymnasiums() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        theirs = CartPoleEnv()
        theirs.reset(seed=0)
        start = random.uniform(-0.05, 0.05, 4)
        theirs.state = start
        state = cartpole.State(*(np.array([x]) for x in start))
        terminated = False
        while not terminated:
            action = int(random.integers(2))
            observation, reward, terminated, _, _ = theirs.step(action)
            state, rewards, ended = cartpole.step(state, np.array([action]), np.empty((1, 0)))
            assert np.array_equal(cartpole.observe(state)[0], observation)
            assert (rewards[0], ended[0]) == (reward, terminated)


def test_the_batch_resets_in_the_same_step_and_shows_the_last_observation() -> None:
    batch = Environment().make_batch(4)
    assert batch.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    batch.reset(seed=0)
    while True:
        observations, reward, terminated, _, info = batch.step(np.ones(4, int))
        if terminated.any():
            break
    row = int(np.flatnonzero(terminated)[0])
    assert reward[row] == 1.0
    assert info["_final_obs"][row]
    assert abs(info["final_obs"][row][2]) > cartpole.ANGLE_LIMIT
    assert np.all(np.abs(observations[row]) <= cartpole.START_RANGE)


def test_an_episode_of_cartpole_is_truncated_after_500_steps() -> None:
    batch = Environment().make_batch(2)
    observations, _ = batch.reset(seed=0)
    for _ in range(500):
        # A hand-made controller that keeps the pole up.
        lean = observations @ np.array([0.3, 1.0, 3.0, 3.0])
        observations, _, terminated, truncated, _ = batch.step((lean > 0).astype(int))
        assert not terminated.any()
    assert truncated.all()


def test_noise_is_uniform_and_differs_between_seeds_draws_and_columns() -> None:
    seeds = np.arange(200, dtype=np.int64)
    numbers = np.stack([uniform(seeds, np.full(200, d, np.int64), 5) for d in range(20)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # Of 20,000 numbers of 24 bits about a dozen coincide by chance.
    assert len(np.unique(numbers)) > numbers.size - 40
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(numbers.var() - 1 / 12) < 0.005


def test_a_name_means_gymnasiums_environment_in_its_own_vectorised_form() -> None:
    named = Environment("CartPole-v1").make_batch(3)
    assert type(named.unwrapped).__name__ == "CartPoleVectorEnv"
    assert isinstance(Environment("FrozenLake-v1").make_batch(2), SyncVectorEnv)


def test_a_name_after_a_package_is_what_that_package_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registering.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Registered/Lake-v0', 'gymnasium.envs.toy_text:FrozenLakeEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    environment = Environment("registering:Registered/Lake-v0", map_name="8x8")
    assert environment.observation_space == gymnasium.spaces.Discrete(64)


def test_parameters_reach_the_environment() -> None:
    environment = Environment("FrozenLake-v1", map_name="8x8")
    assert environment.observation_space == gymnasium.spaces.Discrete(64)


def test_entry_points_classes_instances_and_vector_classes_make_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_tasks.py").write_text(Path(__file__).read_text())
    monkeypatch.syspath_prepend(tmp_path)

    class Vector(SyncVectorEnv):
        def __init__(self, num_envs: int, length: int = 2) -> None:
            super().__init__([lambda: Corridor(length)] * num_envs)

    assert issubclass(Vector, VectorEnv)
    for environment in (
        Environment("own_tasks:Corridor", length=2),
        Environment(Corridor, length=2),
        Environment(lambda: Corridor(2)),
        Environment(Corridor(2)),
        Environment(Vector, length=2),
    ):
        batch = environment.make_batch(3)
        batch.reset(seed=0)
        assert not batch.step(np.zeros(3, int))[2].any()
        assert batch.step(np.zeros(3, int))[2].all()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("CartPol-v1", "did you mean CartPole-v1"),
        ("cartpole-v1", "did you mean CartPole-v1"),
        ("lepton/CartPole-v9", r"did you mean lepton/CartPole\?\); there are lepton/CartPole, "),
        ("", "has no name: give an id such as lepton/CartPole"),
        ("ALE/Pong-v5", r"write ale_py:ALE/Pong-v5, with ale-py in the image"),
        ("MiniGrid-Empty-5x5-v0", r"with lepton-training\[robotics\] in the image"),
        ("LunarLander-v3", r"add gymnasium\[box2d\] to the image"),
        ("HalfCheetah-v5", r"add gymnasium\[mujoco\] to the image"),
        ("sumo_rl:sumo-rl-v0", r"add lepton-training\[traffic\] to the image"),
        ("lepton.environments.foreign:traffic", r"add lepton-training\[traffic\] to the image"),
        ("gymnasium_robotics:FetchReach-v4", r"add lepton-training\[robotics\] to the image"),
        ("minigrid.envs:EmptyEnv", r"add lepton-training\[robotics\] to the image"),
        ("lepton.environments.foreign:JobShop", r"add lepton-training\[scheduling\] to the image"),
        ("icu_sepsis:Sepsis/ICU-Sepsis-v2", r"add lepton-training\[medical\] to the image"),
        (
            "lettuce_greenhouse_gym:LettuceGreenhouse-v0",
            r"add lepton-training\[agriculture\] to the image",
        ),
        ("no_such_package:Task-v0", "add no_such_package to the image"),
        ("lepton.environments:Nothing-v0", "there is no environment 'Nothing-v0'"),
        ("no_such_module:Task", "there is no module no_such_module"),
        (
            "lepton.environments.scenarios.cartpole:CartPol",
            "name CartPol is unknown to module .*; it has State, reset, ",
        ),
        (
            "lepton.environments.foreign:JobShp",
            r"\(did you mean JobShop\?\); it has without_text, traffic, JobShop$",
        ),
        ("math:pi", "is a float; it must be a class"),
    ],
)
def test_what_is_no_environment_is_refused_with_a_hint(source: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Environment(source)


class Sized(Corridor):
    """Can't be made without a size."""

    def __init__(self, size: int, *, colour: str = "grey") -> None:
        super().__init__(size)


@pytest.mark.parametrize(
    ("source", "parameters", "text"),
    [
        (
            Corridor,
            {"lenght": 2},
            r"lenght is unknown \(did you mean length\?\); there are length$",
        ),
        (Sized, {"color": "red"}, r"did you mean colour\?\).*; parameter size is missing: Envir"),
        ("FrozenLake-v1", {"mapname": "8x8"}, r"unknown \(did you mean map_name\?\); there are"),
        ("FrozenLake-v1", {"map_name": "9x9"}, r"FrozenLake-v1 can't be made: KeyError: '9x9'$"),
        (
            "lepton/microgrid",
            {"capcity": 9},
            r"did you mean capacity\?\); there are capacity, power",
        ),
        ("lepton/microgrid", {"capacity": 1}, "environment lepton/microgrid-v1: capacity"),
        (Corridor(), {"length": 2}, "parameters go with a name or a class"),
    ],
)
def test_wrong_parameters_are_named_and_so_are_right_ones(
    source: Any, parameters: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        Environment(source, **parameters)


@pytest.mark.parametrize("source", [5, object(), [Corridor]])
def test_what_makes_no_environment_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match="is no environment: give an id such as lepton/CartPole"):
        Environment(source)


@pytest.mark.parametrize("count", [0, -1, 1.5, "8", True])
def test_a_count_is_a_whole_number_of_at_least_1(count: Any) -> None:
    with pytest.raises(InputError, match="count must be a whole number of at least 1, not "):
        Environment(count=count)
    assert Environment(count=8.0).count == 8  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_told_when_the_environment_is_made() -> None:
    assert Environment(device="cpu").device == "cpu"
    for device in ("gpu", "cuda:9"):
        with pytest.raises(
            InputError, match=f"device {device} can't be used here, where there are cpu"
        ):
            Environment(device=device)


class Broken(Corridor):
    """Raises what it is told to, where it is told to."""

    def __init__(self, where: str, error: Exception) -> None:
        super().__init__()
        self.where, self.error = where, error
        self.fail("init")

    def fail(self, where: str) -> None:
        if where == self.where:
            raise self.error

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
        self.fail("reset")
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.fail("step")
        return super().step(action)


@pytest.mark.parametrize(
    ("where", "failure"),
    [("init", "can't be made"), ("reset", r"fails in reset\(\)"), ("step", r"fails in step\(\)")],
)
def test_an_error_in_an_environment_that_is_looked_at_says_what_failed_and_why(
    where: str, failure: str
) -> None:
    cause = KeyError("sensor")
    with pytest.raises(InputError, match=f"Broken {failure}: KeyError: 'sensor'$") as caught:
        Environment(Broken, where=where, error=cause)
    assert caught.value.__cause__ is cause  # whose traceback leads to the line at fault


@pytest.mark.parametrize("error", [ConnectionRefusedError("no licence"), MemoryError(), OSError(5)])
def test_what_may_pass_is_no_fault_of_the_input(error: Exception) -> None:
    with pytest.raises(TrainingError, match=f"can't be made: {type(error).__name__}"):
        Environment(Broken, where="init", error=error)
    with pytest.raises(InputError, match="can't be made: FileNotFoundError"):
        Environment(Broken, where="init", error=FileNotFoundError("map.csv"))


class Sloppy(gymnasium.Env[Any, Any]):
    """Returns what it is told to."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, reset: Any = None, step: Any = None) -> None:
        first = np.zeros(2, np.float32)
        self.begun = (first, {}) if reset is None else reset
        self.stepped = (first, 1.0, True, False, {}) if step is None else step

    def reset(self, **_: Any) -> Any:
        return self.begun

    def step(self, action: Any) -> Any:
        return self.stepped


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ({"reset": np.zeros(2)}, r"reset\(\) returns ndarray, not \(observation, info\)"),
        ({"reset": (np.zeros(3), {})}, r"reset\(\) returns has shape \(3,\), where .* has \(2,\)"),
        ({"reset": ([0, "a"], {})}, r"reset\(\) returns is \[0, 'a'\], where .* holds numbers"),
        ({"reset": ([0, [1]], {})}, "holds numbers"),
        (
            {"step": (np.zeros(2), 1.0, True, {})},
            r"step\(\) returns \(ndarray, float, bool, dict\), not \(observation, reward, termin",
        ),
        (
            {"step": (np.zeros(3), 1.0, True, False, {})},
            r"observation that step\(\) returns has shape \(3,\), where .* has \(2,\)",
        ),
        (
            {"step": (np.zeros(2), None, True, False, {})},
            r"reward, as step\(\) returns it, is None",
        ),
        ({"step": (np.zeros(2), 1.0, True, "no", {})}, "truncated, .* is 'no', not a number"),
    ],
)
def test_an_environment_that_does_not_keep_to_its_spaces_is_refused_by_what_differs(
    returned: dict[str, Any], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        Environment(Sloppy, **returned)


def test_numbers_of_another_type_and_beyond_their_bounds_are_let_pass() -> None:
    one = (np.full(2, 7.0), np.array([1]), np.bool_(False), 0, {})
    assert Environment(Sloppy, reset=([0, 5], {}), step=one).action_space.n == 2  # type: ignore[attr-defined]


class SloppyBatch(VectorEnv[Any, Any, Any]):
    """One row of rewards too many, or without a space."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    single_action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, num_envs: int, has_space: bool = True) -> None:
        self.num_envs = num_envs
        if has_space:
            self.single_observation_space = gymnasium.spaces.Discrete(2)

    def reset(self, **_: Any) -> Any:
        return np.zeros(self.num_envs, int), {}

    def step(self, actions: Any) -> Any:
        over = np.zeros(self.num_envs, bool)
        return np.zeros(self.num_envs, int), np.zeros(self.num_envs + 1), over, over, {}


def test_batches_of_ones_own_are_looked_at_too() -> None:
    with pytest.raises(InputError, match=r"reward, as step\(\) returns it, is array\(\[0., 0.\]\)"):
        Environment(SloppyBatch)
    with pytest.raises(InputError, match="has no single_observation_space: set it to a space"):
        Environment(SloppyBatch, has_space=False)


def test_an_environment_without_spaces_is_refused_by_the_name_of_the_first() -> None:
    class Bare(gymnasium.Env[Any, Any]):
        """Says nothing of itself."""

    with pytest.raises(InputError, match="Bare has no observation_space: set it to a space of gym"):
        Environment(Bare)


def test_a_look_at_an_environment_leaves_its_own_space_as_it_was() -> None:
    class Remembered(Corridor):
        action_space = gymnasium.spaces.Discrete(1000, seed=3)

    Environment(Remembered)
    assert Remembered.action_space.sample() == gymnasium.spaces.Discrete(1000, seed=3).sample()


def test_a_module_that_raises_at_import_is_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_task.py").write_text("import no_such_package_at_all\n")
    (tmp_path / "wrong_task.py").write_text("class Task(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="needs module no_such_package_at_all"):
        Environment("broken_task:Task")
    with pytest.raises(InputError, match="can't be imported: SyntaxError"):
        Environment("wrong_task:Task")
