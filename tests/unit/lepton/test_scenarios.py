"""What every environment of lepton's own keeps, whatever its task."""

import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from lepton.environments.batched import BatchedVectorEnv, SingleEnv
from lepton.environments.noise import uniform
from lepton.environments.scenario import Scenario
from lepton.environments.scenarios import SCENARIOS, make_scenario
from lepton.environments.scores import random_returns, reference_returns
from lepton.environments.spaces import random_actions, random_numbers
from lepton.errors import InputError

PAGES = Path(__file__).resolve().parents[3] / "docs" / "environments"
SCORED = [name for name in SCENARIOS if name != "CartPole"]

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting.*")


@pytest.fixture(params=SCENARIOS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def scenario(name: str) -> Scenario[Any]:
    return make_scenario(name)


def actions(scenario: Scenario[Any], steps: int, count: int) -> Any:
    """Random actions, shape (steps, count, ...)."""
    space = scenario.action_space
    seeds = np.arange(steps * count, dtype=np.int64)
    drawn = uniform(seeds, np.full(steps * count, 7, np.int64), random_numbers(space))
    chosen = random_actions(space, drawn)
    return chosen.reshape(steps, count, *chosen.shape[1:])


def test_it_passes_gymnasiums_checker(name: str) -> None:
    environment = gymnasium.make(f"lepton/{name}-v1", render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Unbounded and unevenly bounded observations are part of some tasks.
        warnings.filterwarnings("ignore", message=".*(infinity|precision lowered|normalized).*")
        check_env(environment.unwrapped)


def test_observations_and_rewards_are_finite_and_lie_within_the_space(
    scenario: Scenario[Any],
) -> None:
    batch = BatchedVectorEnv(scenario, 64)
    observation, _ = batch.reset(seed=0)
    assert observation.dtype == scenario.observation_space.dtype
    for action in actions(scenario, 2 * scenario.max_steps, 64):
        observation, reward, terminated, truncated, _ = batch.step(action)
        assert batch.observation_space.contains(observation)
        assert reward.shape == terminated.shape == truncated.shape == (64,)
        assert np.isfinite(reward).all()
        assert terminated.dtype == truncated.dtype == np.bool_


def test_row_i_of_a_batch_is_the_single_environment_with_seed_plus_i(
    scenario: Scenario[Any],
) -> None:
    count, row = 5, 3
    batch, single = BatchedVectorEnv(scenario, count), SingleEnv(scenario)
    batched, _ = batch.reset(seed=10)
    observation, _ = single.reset(seed=10 + row)
    ends = 0
    for action in actions(scenario, 2 * scenario.max_steps, count):
        assert np.array_equal(batched[row], observation)
        batched, reward, terminated, truncated, _ = batch.step(action)
        observation, one, ended, cut, _ = single.step(action[row])
        assert (reward[row], terminated[row], truncated[row]) == (one, ended, cut)
        if ended or cut:
            ends += 1
            observation, _ = single.reset()
    assert ends > 0


def test_gymnasium_makes_batches_of_it_by_its_name(name: str) -> None:
    count = 3
    batch = gymnasium.make_vec(f"lepton/{name}-v1", num_envs=count)
    assert isinstance(batch.unwrapped, BatchedVectorEnv)
    single = gymnasium.make(f"lepton/{name}-v1")
    assert batch.single_observation_space == single.observation_space
    assert batch.single_action_space == single.action_space
    one_by_one = gymnasium.make_vec(
        f"lepton/{name}-v1",
        num_envs=count,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": batch.metadata["autoreset_mode"]},
    )
    assert isinstance(one_by_one.unwrapped, SyncVectorEnv)
    ours, theirs = batch.reset(seed=5)[0], one_by_one.reset(seed=5)[0]
    assert np.array_equal(ours, theirs)
    for action in actions(make_scenario(name), 5, count):
        ours, theirs = batch.step(action), one_by_one.step(action)
        for mine, other in zip(ours[:4], theirs[:4], strict=True):
            assert np.array_equal(mine, other)


def test_a_trajectory_on_torch_is_that_on_numpy(scenario: Scenario[Any]) -> None:
    count = 16
    ours, theirs = (
        BatchedVectorEnv(scenario, count),
        BatchedVectorEnv(scenario, count, device="cpu"),
    )
    ours.reset(seed=3)
    theirs.reset(seed=3)
    for action in actions(scenario, scenario.max_steps + 5, count):
        # From the same state, since rounding may tip a decision in the long run.
        theirs.set_state(ours.get_state())
        observation, reward, terminated, truncated, info = theirs.step(torch.as_tensor(action))
        expected = ours.step(action)
        assert isinstance(observation, torch.Tensor)
        assert np.allclose(observation, expected[0], rtol=1e-4, atol=1e-4)
        assert np.allclose(reward, expected[1], rtol=1e-4, atol=1e-3)
        assert np.array_equal(terminated, expected[2])
        assert np.array_equal(truncated, expected[3])
        if "final_obs" in expected[4]:
            final = expected[4]["final_obs"]
            assert np.allclose(info["final_obs"], final, rtol=1e-4, atol=1e-4)
    if scenario.reference is not None:
        chosen = scenario.reference(theirs._state)
        assert isinstance(chosen, torch.Tensor)


def test_the_state_of_a_batch_can_be_taken_and_given_back(scenario: Scenario[Any]) -> None:
    one, other = BatchedVectorEnv(scenario, 6), BatchedVectorEnv(scenario, 6)
    one.reset(seed=1)
    other.reset(seed=99)
    chosen = actions(scenario, 80, 6)
    for action in chosen[:40]:
        one.step(action)
    other.set_state(one.get_state())
    for action in chosen[40:]:
        for ours, theirs in zip(one.step(action)[:4], other.step(action)[:4], strict=True):
            assert np.array_equal(ours, theirs)


def test_rows_can_have_seeds_of_their_own(scenario: Scenario[Any]) -> None:
    several, from_seven = BatchedVectorEnv(scenario, 3), BatchedVectorEnv(scenario, 3)
    expected, _ = from_seven.reset(seed=7)
    swapped, _ = several.reset(seed=[9, 8, np.int64(7)])
    assert np.array_equal(swapped[::-1], expected)
    for action in actions(scenario, 20, 3):
        ours, theirs = several.step(action[::-1]), from_seven.step(action)
        assert np.array_equal(ours[0][::-1], theirs[0])
        assert np.array_equal(ours[1][::-1], theirs[1])
    several.reset(seed=[1, None, 2])


@pytest.mark.parametrize("seed", [[1, 2, 3], [], ["a", 1], [1.5, 2], "ab"])
def test_seeds_that_are_not_one_for_each_row_are_refused(seed: Any) -> None:
    batch = BatchedVectorEnv(make_scenario("CartPole"), 2)
    with pytest.raises(
        InputError, match=r"takes one seed, of which row i uses seed \+ i, or 2, one"
    ):
        batch.reset(seed=seed)


def test_before_the_first_reset_nothing_is_done(name: str) -> None:
    scenario = make_scenario(name)
    batch = BatchedVectorEnv(scenario, 2, render_mode="rgb_array")
    single = SingleEnv(scenario, render_mode="rgb_array")
    action = actions(scenario, 1, 2)[0]
    for use in (
        lambda: batch.step(action),
        batch.render,
        batch.metrics,
        batch.get_state,
        lambda: single.step(action[0]),
        single.render,
    ):
        with pytest.raises(InputError, match=r"no episode has begun: call reset\(\) first"):
            use()


def test_an_action_that_is_not_in_the_space_is_refused() -> None:
    single = SingleEnv(make_scenario("CartPole"))
    single.reset(seed=0)
    with pytest.raises(InputError, match=r"the action is 7, which is not in Discrete\(2\)"):
        single.step(7)
    single.step(np.int32(1))
    single = SingleEnv(make_scenario("microgrid"))
    single.reset(seed=0)
    with pytest.raises(InputError, match=r"the action has shape \(3,\), where .* has \(2,\)"):
        single.step([0.0, 0.0, 0.0])
    single.step([0.0, 5.0])  # beyond its bounds, where scenarios clip


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_batch_looks_at_the_first_actions_after_a_reset(device: str | None) -> None:
    batch = BatchedVectorEnv(make_scenario("CartPole"), 3, device=device)
    batch.reset(seed=0)
    put = np.asarray if device is None else torch.as_tensor
    with pytest.raises(
        InputError, match=r"shape \(2,\); 3 environments .*Discrete\(2\) take \(3,\)"
    ):
        batch.step(put([0, 1]))
    with pytest.raises(InputError, match=r"the action of row 1 is .*2.*, which is not in Discrete"):
        batch.step(put([0, 2, 1]))
    batch.step(put([0, 1, 1]))


def test_there_is_no_window_to_draw_into() -> None:
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(InputError, match="render mode human is not had here"):
            make("lepton/CartPole-v1", render_mode="human")


def test_functions_leave_their_arguments_as_they_are(scenario: Scenario[Any]) -> None:
    seeds, draws = np.arange(8, dtype=np.int64), np.zeros(8, np.int64)
    state = scenario.reset(8, uniform(seeds, draws, scenario.reset_noise))
    noise = uniform(seeds, draws + 1, scenario.step_noise)
    before = [part.copy() for part in state]
    scenario.step(state, actions(scenario, 1, 8)[0], noise)
    scenario.observe(state)
    if scenario.reference is not None:
        scenario.reference(state)
    for part, kept in zip(state, before, strict=True):
        assert np.array_equal(part, kept)


def test_it_is_drawn_as_a_picture(name: str) -> None:
    environment = gymnasium.make(f"lepton/{name}-v1", render_mode="rgb_array")
    environment.reset(seed=0)
    first: Any = environment.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize("name", SCORED)
def test_random_actions_score_0_and_the_reference_100(name: str) -> None:
    scenario = make_scenario(name)
    assert scenario.reference is not None
    for returns, score in (
        (random_returns(scenario, 2048, seed=10**6), 0.0),
        (reference_returns(scenario, 2048, seed=10**6), 100.0),
    ):
        scores = scenario.score(returns)
        # Four standard errors of this measurement, and a point for that of the constants.
        tolerance = 4 * scores.std() / len(scores) ** 0.5 + 1.0
        assert abs(scores.mean() - score) < tolerance


def test_it_has_a_page_that_tells_what_users_ask(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == [
        "Observation",
        "Action",
        "Dynamics",
        "Reward",
        "Reference controller",
        "Known limits",
    ]
    parameters = [f"`{p}`" for p in make_parameters(name)]
    assert [p for p in parameters if p not in page] == []


def make_parameters(name: str) -> list[str]:
    """Names of the scenario's parameters."""
    import importlib
    import inspect

    module = importlib.import_module(f"lepton.environments.scenarios.{SCENARIOS[name]}")
    return list(inspect.signature(module.scenario).parameters)
