"""uav-inspection: how the quadrotor flies and photographs, its route, and the reference."""

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array
from lepton.environments.scenarios import make_scenario, uav_flight, uav_route
from lepton.environments.scenarios import uav_inspection as inspection
from lepton.environments.scenarios.uav_pilot import CHOICES, PLAN, RULE, fly
from lepton.environments.scenarios.uav_site import (
    CALM,
    LEAST_POWER,
    MAX_SPEED,
    REACH,
    STEP,
    State,
    next_target,
)
from lepton.environments.scores import play, reference_returns
from lepton.environments.search import candidate_returns

STILL = np.full((1, 2), 0.0, np.float32)
"""Noise without a gust, and an action that asks to stand still."""


def begun(count: int, **parameters: Any) -> State:
    scenario = make_scenario("uav-inspection", **parameters)
    rows = np.arange(count, dtype=np.int64)
    state: State = scenario.reset(count, uniform(rows, rows * 0, scenario.reset_noise))
    return state


def at(
    x: float,
    y: float,
    *queue: tuple[float, float],
    velocity: tuple[float, float] = (0.0, 0.0),
    wind: tuple[float, float] = (0.0, 0.0),
    energy: float = 3.0,
) -> State:
    """One vehicle, with these points to photograph; three places in the queue."""

    def one(value: float) -> Array:
        return np.array([value], np.float32)

    places = [*queue, *[(0.0, 0.0)] * (3 - len(queue))]
    queue_x, queue_y = (np.array([part], np.float32) for part in zip(*places, strict=True))
    route = uav_route.length(one(x), one(y), queue_x, queue_y)
    parts = [one(v) for v in (x, y, *velocity, *wind, 0.0, 0.0, energy, len(queue))]
    state = State(*[*parts, queue_x, queue_y, route, one(0.0), one(0.0)])
    target_x, target_y = next_target(state, PLAN)
    return state._replace(target_x=target_x, target_y=target_y)


def test_power_is_that_of_the_paper_in_hover_and_grows_with_the_thrust() -> None:
    zero = np.zeros(1, np.float32)
    assert uav_flight.power(zero, zero)[0] == pytest.approx(79.86 + 88.63)
    # Induced power grows as thrust to the power of 3/2; here the rotors carry twice the weight.
    doubled = uav_flight.power(zero, zero + 3.0 * uav_flight.GRAVITY**2)[0]
    assert doubled == pytest.approx(79.86 + 88.63 * 2.0**1.5)


def test_no_flight_lasts_longer_than_an_episode_may() -> None:
    speed = np.linspace(0.0, 40.0, 4001, dtype=np.float32)
    watts = uav_flight.power(speed * speed, speed * 0.0)
    assert LEAST_POWER < watts.min() < LEAST_POWER + 2.0


def test_it_hovers_in_a_steady_wind() -> None:
    state = at(50.0, 0.0, (100.0, 0.0), wind=(3.0, -7.0))
    after = state
    for _ in range(20):
        # A gust that is none: a uniform number of 0 is a normal one of 0.
        after, _, _ = inspection.step(after, STILL, STILL)
    assert (after.x[0], after.y[0]) == pytest.approx((50.0, 0.0), abs=1e-3)
    airspeed_squared = np.array([58.0], np.float32)
    # Tilted to withstand the wind, it takes hardly more than without.
    used = 20 * STEP * uav_flight.power(airspeed_squared, airspeed_squared * 0.0)[0] / 3600.0
    assert state.energy[0] - after.energy[0] == pytest.approx(used, rel=1e-3)


def test_velocity_changes_no_faster_than_the_largest_tilt_allows() -> None:
    state = at(50.0, 0.0, (100.0, 0.0), velocity=(0.0, -10.0))
    after, _, _ = inspection.step(state, np.array([[MAX_SPEED, MAX_SPEED]], np.float32), STILL)
    change = math.hypot(after.velocity_x[0], after.velocity_y[0] + 10.0)
    drag = uav_flight.PARASITE / uav_flight.MASS * 100.0
    assert uav_flight.MAX_ACCELERATION - drag < change / STEP
    assert change / STEP < uav_flight.MAX_ACCELERATION + drag


def test_gusts_spread_as_the_wind_is_strong_and_last_as_long_as_the_model_says() -> None:
    mean = np.full(4096, 8.0, np.float32)
    gusts = [np.zeros((2, 4096), np.float32)]
    rows = np.arange(4096, dtype=np.int64)
    for t in range(200):
        noise = uniform(rows, rows * 0 + t, 2)
        gust_x, gust_y = gusts[-1]
        gusts.append(np.stack(uav_flight.next_gust(gust_x, gust_y, mean, STEP, noise)))
    late = gusts[-1].ravel()
    assert late.std() == pytest.approx(8.0 * uav_flight.GUST_SHARE, rel=0.05)
    seconds = 10
    expected = math.exp(-seconds * uav_flight.GUST_AIRSPEED / uav_flight.GUST_LENGTH)
    before = gusts[-1 - round(seconds / STEP)].ravel()
    assert np.corrcoef(before, late)[0, 1] == pytest.approx(expected, abs=0.05)


def test_the_route_holds_every_point_and_is_at_most_twice_the_shortest() -> None:
    random = np.random.default_rng(2)
    x, y = random.uniform(-120.0, 120.0, (2, 32, 5)).astype(np.float32)
    route_x, route_y = uav_route.nearest_insertion(x, y)
    assert np.array_equal(np.sort(route_x, axis=1), np.sort(x, axis=1))
    base = np.zeros(32, np.float32)
    orders = [list(order) for order in permutations(range(5))]
    shortest = np.min([uav_route.length(base, base, x[:, o], y[:, o]) for o in orders], axis=0)
    length = uav_route.length(base, base, route_x, route_y)
    # The bound of Rosenkrantz, Stearns and Lewis; on average it is far better.
    assert np.all(length >= shortest - 1e-3)
    assert np.all(length <= 2.0 * shortest)
    assert np.mean(length / shortest) < 1.1


@pytest.mark.parametrize(
    ("x", "speed", "photographed"),
    [(REACH - 1.0, 4.0, True), (REACH - 1.0, 9.0, False), (REACH + 5.0, 4.0, False)],
)
def test_a_point_is_photographed_when_it_is_near_and_the_vehicle_calm(
    x: float, speed: float, photographed: bool
) -> None:
    # It flies across, so that its distance hardly changes.
    state = at(60.0 + x, 0.0, (60.0, 0.0), (0.0, 90.0), velocity=(0.0, speed))
    ahead = np.array([[0.0, -speed]], np.float32)
    after, _, ended = inspection.step(state, ahead, STILL)
    assert not ended[0]
    assert after.left[0] == (1.0 if photographed else 2.0)
    first = (after.queue_x[0, 0], after.queue_y[0, 0])
    assert first == ((0.0, 90.0) if photographed else (60.0, 0.0))


def test_a_point_that_is_photographed_in_passing_leaves_the_others_in_their_order() -> None:
    state = at(0.0, 80.0, (60.0, 0.0), (0.0, 90.0), (-60.0, 0.0))
    after, reward, _ = inspection.step(state, STILL, STILL)
    assert after.queue_x[0].tolist() == [60.0, -60.0, 0.0]
    assert after.queue_y[0].tolist() == [0.0, 0.0, 0.0]
    # Of 100 + 108.2 + 108.2 + 60 m, 100 + 120 + 60 are left.
    saved = 2.0 * math.hypot(60.0, 90.0) - 120.0
    assert reward[0] == pytest.approx(saved / inspection.ROUTE_SPEED - STEP, rel=1e-4)


def test_it_lands_only_when_no_point_can_be_flown_to_any_more() -> None:
    _, _, ended = inspection.step(at(5.0, 0.0, (100.0, 0.0)), STILL, STILL)
    assert not ended[0]
    _, reward, ended = inspection.step(at(5.0, 0.0), STILL, STILL)
    assert ended[0]
    assert reward[0] == pytest.approx(-STEP)
    _, reward, ended = inspection.step(at(5.0, 0.0, (100.0, 0.0), energy=0.4), STILL, STILL)
    assert ended[0]
    assert reward[0] == pytest.approx(-STEP - inspection.MISSED_COST)


def test_without_energy_it_has_to_be_fetched() -> None:
    state = at(90.0, 0.0, (100.0, 50.0), energy=0.01)
    _, reward, ended = inspection.step(state, STILL, STILL)
    assert ended[0]
    costs = inspection.FETCH_COST + inspection.MISSED_COST
    assert reward[0] == pytest.approx(-STEP - costs)


def test_the_target_is_the_first_point_from_which_the_energy_lasts_to_come_home() -> None:
    far, near = (110.0, 110.0), (-20.0, 40.0)
    assert next_target(at(0.0, 0.0, far, near), PLAN)[0][0] == far[0]
    assert next_target(at(0.0, 0.0, far, near, energy=0.8), PLAN)[0][0] == near[0]
    assert next_target(at(0.0, 0.0, far, near, energy=0.1), PLAN) == (0.0, 0.0)
    # Against a strong wind the same way takes more.
    stormy = at(0.0, 0.0, far, near, energy=0.95, wind=(8.0, 8.0))
    calm = at(0.0, 0.0, far, near, energy=0.95)
    assert next_target(calm, PLAN)[0][0] == far[0]
    assert next_target(stormy, PLAN)[0][0] == near[0]


def test_a_site_that_is_turned_round_looks_and_pays_the_same() -> None:
    state = begun(64)

    def quarter_turn(parts: State) -> State:
        names = ("", "velocity_", "wind_", "gust_", "queue_", "target_")
        east = {f"{name}x": -getattr(parts, f"{name}y") for name in names}
        north = {f"{name}y": getattr(parts, f"{name}x") for name in names}
        return parts._replace(**east, **north)

    other = quarter_turn(state)
    action = np.random.default_rng(1).uniform(-20.0, 20.0, (64, 2)).astype(np.float32)
    for _ in range(40):
        state, reward, _ = inspection.step(state, action, np.zeros((64, 2), np.float32))
        other, same, _ = inspection.step(other, action, np.zeros((64, 2), np.float32))
        assert same == pytest.approx(reward, abs=1e-3)
        assert inspection.observe(other) == pytest.approx(inspection.observe(state), abs=1e-3)
        other = quarter_turn(state)


def test_an_episode_pays_the_route_flown_less_time_and_what_was_missed() -> None:
    scenario = make_scenario("uav-inspection")
    rows = np.arange(256, dtype=np.int64)
    state = begun(256)
    begin = state.route
    total, expected = np.zeros(256), np.zeros(256)
    running = np.ones(256, np.bool_)
    for t in range(1, scenario.max_steps + 1):
        noise = uniform(rows, rows * 0 + t, scenario.step_noise)
        state, reward, ended = scenario.step(state, inspection.reference(state), noise)
        total += np.where(running, reward, 0.0)
        pays = (begin - state.route) / inspection.ROUTE_SPEED - STEP * t
        pays = pays - inspection.MISSED_COST * state.left
        near = np.hypot(state.x, state.y) < REACH
        calm = np.hypot(state.velocity_x, state.velocity_y) < CALM
        pays = pays - inspection.FETCH_COST * ~(near & calm)
        expected = np.where(running & ended, pays, expected)
        running &= ~ended
    assert not running.any()
    assert total == pytest.approx(expected, abs=1e-2)


def without_reserve(state: State, _: Array) -> Array:
    """The whole route, whatever the energy."""
    rows = np.tile(np.array(RULE, np.float32), (len(state.x), 1))
    return fly(state._replace(energy=state.energy + 99.0), rows)


def test_the_reference_earns_more_than_a_flight_that_ignores_its_energy() -> None:
    scenario = make_scenario("uav-inspection")
    reference = reference_returns(scenario, 1024)
    assert play(scenario, without_reserve, 0, 1024).mean() < reference.mean() - 2.0


def test_no_number_of_the_reference_can_be_changed_alone_to_earn_more() -> None:
    scenario = make_scenario("uav-inspection")
    for i, values in enumerate(CHOICES):
        candidates = np.array([[*RULE[:i], value, *RULE[i + 1 :]] for value in values], np.float32)
        returns = candidate_returns(scenario, fly, candidates, 512)
        # Neighbours that hardly differ may swap places on these sites.
        assert np.all(returns <= returns[values.index(RULE[i])] + 0.3)


@pytest.mark.parametrize("wrong", [{"points": 0}, {"points": 13}, {"wind": -1.0}, {"wind": 13.0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it can be"):
        make_scenario("uav-inspection", **wrong)
