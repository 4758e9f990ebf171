"""traffic-signals: vehicles are kept count of, lights and full links hold them back."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.noise import uniform
from lepton.environments.scenarios.traffic_grid import EAST, NORTH, SOUTH, Grid
from lepton.environments.scenarios.traffic_signals import (
    RETURNS,
    STORAGE,
    Network,
    State,
    levels,
    scenario,
)
from lepton.environments.scores import play

NORTH_SOUTH, NORTH_SOUTH_LEFT, EAST_WEST, EAST_WEST_LEFT = range(4)
NORTH_WEST, NORTH_EAST, SOUTH_WEST, SOUTH_EAST = range(4)
AHEAD, LEFT = 0, 1


def quiet(rows: int = 2, columns: int = 2) -> tuple[Network, State, Any]:
    """A network, empty at noon, and noise that lets nobody in."""
    network = Network(Grid(rows, columns), demand=1.0, lost_time=5.0)
    state = network.reset(1, np.full((1, 1), 6 / 14, np.float32))
    return network, state, np.zeros((1, len(network.grid.entries)), np.float32)


def link(network: Network, heading: int, junction: int) -> int:
    """The link to a junction for those with this heading."""
    return network.grid.link_ends.index(heading * network.grid.junctions + junction)


def waiting(state: State, where: tuple[int, int, int], vehicles: float) -> State:
    queue = state.queue.copy()
    queue[(0, *where)] = vehicles
    return state._replace(queue=queue)


def test_who_entered_is_on_the_road_or_has_left() -> None:
    made = scenario(rows=2, columns=3, demand=1.5)
    seeds = np.arange(32, dtype=np.int64)
    state = made.reset(32, uniform(seeds, seeds * 0, made.reset_noise))
    for step in range(1, made.max_steps):
        action = np.broadcast_to((seeds[:, None] + step) // 3 % 4, (32, 6))
        state, _, _ = made.step(state, action, uniform(seeds, seeds * 0 + step, made.step_noise))
        assert state.travelling.min() >= 0.0
        assert state.queue.min() >= 0.0
    inside = state.queue.sum((1, 2, 3)) + state.travelling.sum(1)
    assert state.entered.min() > 100.0
    assert np.allclose(state.entered, inside + state.left, rtol=1e-4)


@pytest.mark.parametrize(
    ("phase_before", "passed"), [(EAST_WEST, 20 * 0.5), (NORTH_SOUTH, (20 - 5) * 0.5)]
)
def test_a_queue_leaves_at_the_saturation_flow_less_what_the_change_of_phase_takes(
    phase_before: int, passed: float
) -> None:
    network, state, noise = quiet(1, 1)
    state = waiting(state, (AHEAD, EAST, 0), 12.0)._replace(phase=np.array([[phase_before]]))
    state, reward, _ = network.step(state, np.array([[EAST_WEST]]), noise)
    assert state.queue[0, AHEAD, EAST, 0] == pytest.approx(12.0 - passed)
    assert state.left[0] == pytest.approx(passed)
    assert reward[0] == pytest.approx(-(12.0 - passed) * 20 / 3600)


def test_vehicles_turn_where_they_mean_to() -> None:
    network, state, noise = quiet()
    state = waiting(state, (AHEAD, EAST, NORTH_WEST), 8.0)
    state = state._replace(phase=np.full((1, 4), EAST_WEST))
    state, _, _ = network.step(state, state.phase, noise)
    assert state.travelling[0, link(network, EAST, NORTH_EAST)] == pytest.approx(6.5)
    assert state.travelling[0, link(network, SOUTH, SOUTH_WEST)] == pytest.approx(1.5)

    _, state, _ = quiet()
    state = waiting(state, (LEFT, EAST, SOUTH_WEST), 2.0)
    state = state._replace(phase=np.full((1, 4), EAST_WEST_LEFT))
    state, _, _ = network.step(state, state.phase, noise)
    assert state.travelling[0, link(network, NORTH, NORTH_WEST)] == pytest.approx(2.0)


def test_a_full_link_holds_back_a_lane_group_that_would_enter_it() -> None:
    network, state, noise = quiet()
    full = waiting(state, (LEFT, EAST, NORTH_EAST), STORAGE)
    full = waiting(full, (AHEAD, EAST, NORTH_WEST), 8.0)
    full = waiting(full, (AHEAD, EAST, SOUTH_WEST), 8.0)
    full = full._replace(phase=np.full((1, 4), EAST_WEST))
    after, _, _ = network.step(full, full.phase, noise)
    assert after.queue[0, AHEAD, EAST, NORTH_WEST] == 8.0
    assert after.queue[0, AHEAD, EAST, SOUTH_WEST] == 0.0


def test_links_never_hold_more_than_they_have_room_for() -> None:
    network = Network(Grid(2, 2), demand=3.0, lost_time=5.0)
    seeds = np.arange(64, dtype=np.int64)
    state = network.reset(64, uniform(seeds, seeds * 0, 1))
    fullest = 0.0
    for step in range(1, 90):
        numbers = uniform(seeds, seeds * 0 + step, 8)
        state, _, _ = network.step(state, np.full((64, 4), EAST_WEST), numbers)
        queued = state.queue.sum(1).reshape(64, -1)[:, list(network.grid.link_ends)]
        fullest = max(fullest, float((queued + state.travelling).max()))
    assert fullest == pytest.approx(STORAGE, abs=1e-3)


def test_pressure_is_low_for_those_who_would_join_a_longer_queue() -> None:
    network, state, _ = quiet()
    state = waiting(state, (AHEAD, EAST, NORTH_WEST), 10.0)
    state = waiting(state, (AHEAD, SOUTH, NORTH_WEST), 6.0)
    assert network.reference(state)[0, NORTH_WEST] == EAST_WEST
    state = waiting(state, (AHEAD, EAST, NORTH_EAST), 30.0)
    assert network.reference(state)[0, NORTH_WEST] == NORTH_SOUTH


def test_the_way_to_the_centre_is_full_in_the_morning_and_from_it_in_the_evening() -> None:
    inwards, outwards = levels(np.array([8.0, 12.75, 17.5]))
    assert inwards == pytest.approx([1.0, 0.4, 0.6], abs=1e-3)
    assert outwards == pytest.approx([0.6, 0.4, 1.0], abs=1e-3)


def test_max_pressure_beats_the_best_fixed_plan_and_deciding_half_as_often() -> None:
    made = scenario()
    reference = made.reference
    assert reference is not None
    plan = [NORTH_SOUTH, NORTH_SOUTH, NORTH_SOUTH_LEFT]
    plan += [EAST_WEST, EAST_WEST, EAST_WEST, EAST_WEST_LEFT]
    steps = iter(range(2 * made.max_steps))

    def fixed(state: State, _: Any) -> Any:
        return np.full_like(state.phase, plan[next(steps) % len(plan)])

    def seldom(state: State, _: Any) -> Any:
        return reference(state) if next(steps) % 2 == 0 else state.phase

    for policy in (fixed, seldom):
        assert play(made, policy, 0, 128).mean() < RETURNS.reference - 1.0


@pytest.mark.parametrize("size", [(1, 1), (2, 3)])
def test_grids_of_other_sizes_are_scored_by_their_own_returns(size: tuple[int, int]) -> None:
    made = scenario(*size)
    batch = BatchedVectorEnv(made, 3)
    observation, _ = batch.reset(seed=0)
    assert batch.observation_space.contains(observation)
    assert made.returns is not None
    assert made.returns.random < made.returns.reference < 0.0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rows": 0}, "rows must be a whole number from 1 to 6, not 0"),
        ({"columns": 2.5}, "columns must be a whole number from 1 to 6, not 2.5"),
        ({"demand": 0.0}, "demand must be from 0.1 to 3, not 0.0"),
        ({"lost_time": 20.0}, "lost_time must be from 0 s and below 20 s, not 20.0"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scenario(**parameters)
