"""robot-navigation: what the beams read, how the robot drives, and the dynamic window approach."""

import math
from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Scenario
from lepton.environments.scenarios import dynamic_window, make_scenario
from lepton.environments.scenarios import robot_navigation as navigation
from lepton.environments.scores import play, reference_returns

EXACT = np.full((1, navigation.BEAMS), 0.5, np.float32)
"""Noise of readings without an error."""
AHEAD = navigation.BEAMS // 2


def column(*values: float) -> Array:
    return np.array([values], np.float32)


def stand(x: float, y: float, heading: float, speed: float, *obstacle: float) -> navigation.State:
    """One robot and one obstacle (x, y, radius)."""
    ox, oy, radius = obstacle
    one = [np.array([v], np.float32) for v in (x, y, heading, speed, 0.0)]
    return navigation.State(*one, column(ox), column(oy), column(radius), EXACT * 0.0)


def drive(state: navigation.State, speed: float, turn_rate: float) -> Any:
    return navigation.step(state, column(speed, turn_rate), EXACT, 0.03)


def test_a_beam_reads_the_distance_to_the_circle_that_it_meets_first() -> None:
    state, _, _ = drive(stand(-5.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.5), 0.0, 0.0)
    beside = math.radians(15.0)
    # The circle's near edge is 1.5 m ahead; 15 degrees off, the beam passes its centre by 0.518 m.
    assert state.ranges[0, AHEAD] == pytest.approx(1.5)
    assert 2.0 * math.sin(beside) > 0.5
    assert np.all(np.delete(state.ranges[0], AHEAD) == navigation.RANGE)
    near, _, _ = drive(stand(-5.0, 0.0, 0.0, 0.0, -4.0, 0.0, 0.5), 0.0, 0.0)
    expected = math.cos(beside) - math.sqrt(0.25 - math.sin(beside) ** 2)
    assert near.ranges[0, AHEAD + 1] == pytest.approx(expected, rel=1e-5)
    assert near.ranges[0, AHEAD - 1] == pytest.approx(expected, rel=1e-5)


def test_what_lies_behind_is_not_seen() -> None:
    state, _, _ = drive(stand(-5.0, 0.0, math.pi, 0.0, -3.0, 0.0, 0.5), 0.0, 0.0)
    assert np.all(state.ranges == navigation.RANGE)


def test_a_full_turn_at_constant_velocities_ends_where_it_began() -> None:
    state = stand(-5.0, 1.0, 0.3, 0.5, 50.0, 50.0, 0.3)
    turn_rate = 2.0 * math.pi / (24 * navigation.STEP)
    state = state._replace(turn_rate=np.array([turn_rate], np.float32))
    farthest = 0.0
    for _ in range(24):
        state, _, _ = drive(state, 0.5, turn_rate)
        farthest = max(farthest, math.hypot(state.x[0] + 5.0, state.y[0] - 1.0))
    assert farthest == pytest.approx(2 * 0.5 / turn_rate, rel=1e-3)
    assert (state.x[0], state.y[0]) == pytest.approx((-5.0, 1.0), abs=1e-3)
    assert state.heading[0] == pytest.approx(0.3, abs=1e-3)


def test_velocities_change_no_faster_than_the_drive_allows() -> None:
    state, _, _ = drive(stand(-5.0, 0.0, 0.0, 0.0, 50.0, 50.0, 0.3), 0.95, -9.0)
    assert state.speed[0] == pytest.approx(0.5 * navigation.STEP)
    assert state.turn_rate[0] == pytest.approx(-math.radians(60) * navigation.STEP)


def test_an_obstacle_that_is_touched_between_two_readings_ends_the_episode() -> None:
    # The robot passes 0.56 m beside the centre of a circle of 0.3 m, halfway through the interval.
    passing = stand(-5.0, 0.0, 0.0, 0.95, -4.88, 0.56, 0.3)
    _, reward, ended = drive(passing, 0.95, 0.0)
    assert ended[0]
    assert reward[0] == pytest.approx(-navigation.COLLISION_COST, abs=0.01)
    clear = passing._replace(obstacle_y=column(0.58))
    assert not drive(clear, 0.95, 0.0)[2][0]


def test_an_episode_that_arrives_pays_its_delay_against_the_straight_drive() -> None:
    scenario = make_scenario("robot-navigation", obstacles=1)
    seeds = np.arange(64, dtype=np.int64)
    state = scenario.reset(64, uniform(seeds, seeds * 0, scenario.reset_noise))
    total, steps, running = np.zeros(64), np.zeros(64), np.ones(64, np.bool_)
    arrived = np.zeros(64, np.bool_)
    distance = np.zeros(64)
    assert scenario.reference is not None
    for t in range(1, scenario.max_steps + 1):
        noise = uniform(seeds, seeds * 0 + t, scenario.step_noise)
        state, reward, ended = scenario.step(state, scenario.reference(state), noise)
        total += np.where(running, reward, 0.0)
        steps += running
        distance = np.where(running, np.hypot(state.x, state.y), distance)
        arrived |= running & ended & (reward > -1.0)
        running &= ~ended
        if not running.any():
            break
    saved = (navigation.START_DISTANCE - distance) / navigation.DRIVE.max_speed
    assert arrived.sum() > 60
    assert total[arrived] == pytest.approx((saved - steps * navigation.STEP)[arrived], abs=1e-3)


@pytest.mark.parametrize("curvature", [-2.0, -0.4, 0.0, 0.1, 1.0])
def test_the_clearance_of_an_arc_is_where_a_disc_on_it_first_touches(curvature: float) -> None:
    random = np.random.default_rng(5)
    ranges = random.uniform(0.4, 6.0, (200, 1)).clip(max=4.0).astype(np.float32)
    along = np.linspace(0.0, 4.0, 4001)
    turned = curvature * along
    with np.errstate(divide="ignore", invalid="ignore"):
        x = along if curvature == 0.0 else np.sin(turned) / curvature
        y = along * 0.0 if curvature == 0.0 else (1.0 - np.cos(turned)) / curvature
    # Beyond half a circle the point that was next to the arc lies behind.
    reach = 4.0 if curvature == 0.0 else min(4.0, 0.5 * math.pi / abs(curvature))
    for angle in (-1.0, 0.2, 0.7):
        free = dynamic_window.clearance(
            np.full((200, 1), curvature, np.float32), ranges, (angle,), 4.0, 0.3
        )[:, 0]
        for distance, found in zip(ranges[:, 0], free, strict=True):
            gap = np.hypot(x - distance * math.cos(angle), y - distance * math.sin(angle))
            touches = along[gap < 0.3] if distance < 4.0 else along[:0]
            if len(touches) and touches[0] < reach:
                assert found == pytest.approx(touches[0], abs=0.03)
            elif not len(touches):
                assert found > reach - 0.31


def straight_to_the_goal(state: navigation.State, noise: Array) -> Array:
    """At full speed, blind."""
    direction = np.arctan2(-state.y, -state.x) - state.heading
    full = np.full_like(direction, navigation.DRIVE.max_speed)
    return np.stack([full, 2.0 * np.sin(direction)], axis=1)


def test_the_reference_is_far_better_than_driving_blindly_to_the_goal() -> None:
    scenario = make_scenario("robot-navigation")
    blind = play(scenario, straight_to_the_goal, 0, episodes=512)
    reference = reference_returns(scenario, episodes=256)
    assert reference.mean() > blind.mean() + 3.0
    assert np.mean(reference < -navigation.COLLISION_COST) < 0.05


def test_other_weights_do_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario: Scenario[Any] = make_scenario("robot-navigation")
    chosen = reference_returns(scenario, episodes=256)
    noise = 0.5  # s, of the difference of two such means
    for weights in (
        dynamic_window.Weights(heading=1.0, clearance=1.0, speed=0.14, margin=0.03),
        dynamic_window.Weights(heading=1.0, clearance=4.0, speed=0.07, margin=0.03),
        dynamic_window.Weights(heading=1.0, clearance=4.0, speed=0.28, margin=0.03),
        dynamic_window.Weights(heading=1.0, clearance=4.0, speed=0.14, margin=0.12),
    ):
        monkeypatch.setattr(navigation, "WEIGHTS", weights)
        assert reference_returns(scenario, episodes=256).mean() < chosen.mean() + noise


@pytest.mark.parametrize("wrong", [{"obstacles": 0}, {"obstacles": 17}, {"range_error": 0.3}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it can be"):
        make_scenario("robot-navigation", **wrong)
