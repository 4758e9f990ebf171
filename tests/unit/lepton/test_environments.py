"""Environments: lepton's own CartPole, and those of others by name, entry point and class."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from lepton import Environment, InputError
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
        ("lepton/CartPole-v9", "did you mean lepton/CartPole-v1"),
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
        ("lepton.environments.scenarios.cartpole:CartPol", "has no CartPol"),
        ("math:pi", "is a float; it must be a class"),
    ],
)
def test_what_is_no_environment_is_refused_with_a_hint(source: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        Environment(source)


def test_wrong_parameters_are_an_input_error() -> None:
    with pytest.raises(InputError, match=r"parameters \['lenght'\]"):
        Environment(Corridor, lenght=2)


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
