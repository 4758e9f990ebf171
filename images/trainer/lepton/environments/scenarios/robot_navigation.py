"""robot-navigation: a wheeled robot finds its way between obstacles that it sees by 13 beams.

A differential-drive robot of the size and speed of RHINO, for which Fox, Burgard and Thrun made
"The Dynamic Window Approach to Collision Avoidance" (IEEE Robotics & Automation Magazine 4(1),
1997): velocities are constant within a control interval, so that it drives arcs, and they change
no faster than the limits of acceleration allow. The beams are those of a small laser scanner
(Hokuyo URG-04LX-UG01: 4 m, 240 degrees, 3% error).
"""

import math
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.dynamic_window import Drive, Weights, best_velocities
from lepton.environments.scores import measure

STEP = 0.25  # s, the control interval
RADIUS = 0.27  # m, of the robot
DRIVE = Drive(
    max_speed=0.95,  # m/s
    max_turn_rate=math.radians(90),  # rad/s
    acceleration=0.5,  # m/s²
    turn_acceleration=math.radians(60),  # rad/s²
    interval=STEP,
)
RANGE = 4.0  # m, what lies further off is read as this
BEAMS = 13
BEAM_ANGLES = tuple(math.radians(15.0 * (i - BEAMS // 2)) for i in range(BEAMS))
"""rad, to the left of the robot's heading."""
START_DISTANCE = 10.0  # m, from the goal
START_TURN = math.radians(90)  # rad, the first heading is off the goal by up to this
GOAL_RADIUS = 0.3  # m, from the goal to the robot's centre
FIELD = ((-8.5, -1.5), (-3.5, 3.5))
"""m, centres of obstacles lie within these x and y; the robot starts at (-10, 0)."""
OBSTACLE_RADII = (0.3, 0.8)  # m
COLLISION_COST = 20.0  # s
MAX_STEPS = 160

WEIGHTS = Weights(heading=1.0, clearance=4.0, speed=0.14, margin=0.03)
"""Of the reference: the best of a random search over 127 sets, each judged by 512 episodes and the
ten best by 4,096. A test holds them against their neighbours."""
DEFAULTS = (6, 0.03)
"""Obstacles and range error."""
DEFAULT_RETURNS = Returns(random=-36.79, reference=-4.55)


class State(NamedTuple):
    """The goal is the origin. Each of shape (n,) unless said otherwise."""

    x: Array  # m
    y: Array  # m
    heading: Array  # rad, from the direction of x to the left
    speed: Array  # m/s
    turn_rate: Array  # rad/s
    obstacle_x: Array  # m, (n, obstacles)
    obstacle_y: Array  # m, (n, obstacles)
    obstacle_radius: Array  # m, (n, obstacles)
    ranges: Array  # m, (n, BEAMS), what the beams read


def _columns_first(values: Array) -> Array:
    """(n, m) to (m, n), contiguous, since operations along n are then several times faster."""
    xp = array_namespace(values)
    return xp.stack([values[:, i] for i in range(values.shape[1])], axis=0)


def _measure_ranges(
    heading: Array, dx: Array, dy: Array, radius: Array, noise: Array, range_error: float
) -> Array:
    """Readings (n, BEAMS) of obstacles at (dx, dy) from the robot, each (obstacles, n).

    A beam at distance t from its closest approach to a centre, with power of the point
    D = distance² - radius², meets the circle at t - sqrt(t² - D).
    """
    xp = array_namespace(heading)
    cosine, sine = xp.cos(heading), xp.sin(heading)
    ahead = cosine * dx + sine * dy
    left = cosine * dy - sine * dx
    power = dx * dx + dy * dy - radius * radius
    ranges = []
    for angle in BEAM_ANGLES:
        # In place, and a sum with a large number for a miss: a `where` on a random mask and fresh
        # memory each cost more than all the arithmetic.
        along = ahead * math.cos(angle)
        along += left * math.sin(angle)
        along = xp.clip(along, 0.0, None)
        rest = along * along
        rest -= power
        along += xp.astype(rest < 0.0, xp.float32) * 1e3
        along -= xp.sqrt(abs(rest))
        ranges.append(xp.min(along, axis=0))
    exact = xp.stack(ranges, axis=1)
    return xp.clip(exact * (1.0 + range_error * (2.0 * noise - 1.0)), 0.0, RANGE)


# The robot can drive away from the goal for a whole episode.
_FARTHEST = 1.0 + MAX_STEPS * STEP * DRIVE.max_speed / START_DISTANCE
_LOW = np.array([0.0, -1.0, -1.0, 0.0, -1.0] + [0.0] * BEAMS, np.float32)
_HIGH = np.array([_FARTHEST, 1.0, 1.0, 1.0, 1.0] + [1.0] * BEAMS, np.float32)


def reset(n: int, noise: Array, obstacles: int, range_error: float) -> State:
    """The robot stands still and looks to within 90 degrees of the goal."""
    xp = array_namespace(noise)
    heading = START_TURN * (2.0 * noise[:, 0] - 1.0)
    zero = xp.zeros_like(heading)
    x = zero - START_DISTANCE
    (x_low, x_high), (y_low, y_high) = FIELD
    low, high = OBSTACLE_RADII
    placed = noise[:, 1 : 1 + 3 * obstacles]
    obstacle_x = x_low + (x_high - x_low) * placed[:, :obstacles]
    obstacle_y = y_low + (y_high - y_low) * placed[:, obstacles : 2 * obstacles]
    radius = low + (high - low) * placed[:, 2 * obstacles :]
    ranges = _measure_ranges(
        heading,
        _columns_first(obstacle_x) - x,
        _columns_first(obstacle_y),
        _columns_first(radius),
        noise[:, 1 + 3 * obstacles :],
        range_error,
    )
    return State(x, zero, heading, zero, zero, obstacle_x, obstacle_y, radius, ranges)


def step(
    state: State, action: Array, noise: Array, range_error: float
) -> tuple[State, Array, Array]:
    """One control interval. The action holds the wanted speed and turn rate, (n, 2)."""
    xp = array_namespace(state.x)
    speed = DRIVE.next_speed(state.speed, action[:, 0])
    turn_rate = DRIVE.next_turn_rate(state.turn_rate, action[:, 1])
    # An arc's chord: its direction is the heading halfway, its length the arc's times sinc.
    half_turn = turn_rate * (0.5 * STEP)
    chord = speed * STEP * (1.0 - half_turn * half_turn / 6.0)
    course = state.heading + half_turn
    along_x, along_y = xp.cos(course), xp.sin(course)
    x, y = state.x + chord * along_x, state.y + chord * along_y
    heading = course + half_turn
    heading = heading - 2.0 * math.pi * xp.round(heading / (2.0 * math.pi))

    radius = _columns_first(state.obstacle_radius)
    dx = _columns_first(state.obstacle_x) - state.x
    dy = _columns_first(state.obstacle_y) - state.y
    passed = xp.minimum(xp.clip(dx * along_x + dy * along_y, 0.0, None), chord)
    off_x, off_y = dx - passed * along_x, dy - passed * along_y
    too_close = off_x * off_x + off_y * off_y < (radius + RADIUS) ** 2
    collided = xp.any(too_close, axis=0)

    before = xp.sqrt(state.x * state.x + state.y * state.y)
    after = xp.sqrt(x * x + y * y)
    arrived = after < GOAL_RADIUS
    reward = (before - after) / DRIVE.max_speed - STEP
    reward = reward - COLLISION_COST * xp.astype(collided, xp.float32)
    dx, dy = dx - chord * along_x, dy - chord * along_y
    ranges = _measure_ranges(heading, dx, dy, radius, noise, range_error)
    moved = state._replace(
        x=x, y=y, heading=heading, speed=speed, turn_rate=turn_rate, ranges=ranges
    )
    return moved, reward, arrived | collided


def _goal(state: State) -> tuple[Array, Array]:
    """Distance and direction, in m and in rad to the left of the heading, each (n,)."""
    xp = array_namespace(state.x)
    distance = xp.sqrt(state.x * state.x + state.y * state.y)
    return distance, xp.atan2(-state.y, -state.x) - state.heading


def observe(state: State) -> Array:
    """Shape (n, BEAMS + 5); the page says what the columns are."""
    xp = array_namespace(state.x)
    distance, direction = _goal(state)
    own = xp.stack(
        [
            distance / START_DISTANCE,
            xp.cos(direction),
            xp.sin(direction),
            state.speed / DRIVE.max_speed,
            state.turn_rate / DRIVE.max_turn_rate,
        ],
        axis=1,
    )
    return xp.concat([own, state.ranges / RANGE], axis=1)


def reference(state: State) -> Array:
    """The dynamic window approach on the readings of this moment."""
    distance, direction = _goal(state)
    return best_velocities(
        DRIVE,
        WEIGHTS,
        radius=RADIUS,
        speed=state.speed,
        turn_rate=state.turn_rate,
        goal_distance=distance,
        goal_direction=direction,
        goal_radius=GOAL_RADIUS,
        ranges=state.ranges,
        beam_angles=BEAM_ANGLES,
        max_range=RANGE,
    )


def metrics(state: State) -> dict[str, Array]:
    """How far the goal is, and how near what the beams meet."""
    xp = array_namespace(state.x)
    return {
        "goal_distance": _goal(state)[0],
        "nearest_reading": xp.min(state.ranges, axis=1),
    }


def render(state: State) -> Picture:
    """The field from above: the goal green, beams as far as they reach."""
    canvas = Canvas(720, 420, left=-11.0, right=1.0, bottom=-3.5, top=3.5)
    x, y, heading = float(state.x[0]), float(state.y[0]), float(state.heading[0])
    canvas.circle((0.0, 0.0), GOAL_RADIUS, "green")
    for angle, distance in zip(BEAM_ANGLES, state.ranges[0], strict=True):
        at = heading + angle
        end = (x + float(distance) * math.cos(at), y + float(distance) * math.sin(at))
        canvas.line((x, y), end, "yellow" if distance < RANGE else "pale", 1)
    parts = (state.obstacle_x, state.obstacle_y, state.obstacle_radius)
    for centre_x, centre_y, radius in zip(*(part[0] for part in parts), strict=True):
        canvas.circle((float(centre_x), float(centre_y)), float(radius), "dark")
    canvas.circle((x, y), RADIUS, "blue")
    nose = (x + RADIUS * math.cos(heading), y + RADIUS * math.sin(heading))
    canvas.line((x, y), nose, "background", 3)
    canvas.text((-10.8, 3.2), f"{float(state.speed[0]):.2f} m/s")
    return canvas.picture()


def _unscored(obstacles: int, range_error: float) -> Scenario[State]:
    return Scenario(
        name="robot-navigation",
        observation_space=spaces.Box(_LOW, _HIGH, dtype=np.float32),
        action_space=spaces.Box(
            np.array([0.0, -DRIVE.max_turn_rate], np.float32),
            np.array([DRIVE.max_speed, DRIVE.max_turn_rate], np.float32),
        ),
        max_steps=MAX_STEPS,
        reset=partial(reset, obstacles=obstacles, range_error=range_error),
        step=partial(step, range_error=range_error),
        observe=observe,
        reset_noise=1 + 3 * obstacles + BEAMS,
        step_noise=BEAMS,
        reference=reference,
        render=render,
        metrics=metrics,
    )


@cache
def _returns(obstacles: int, range_error: float) -> Returns:
    if (obstacles, range_error) == DEFAULTS:
        return DEFAULT_RETURNS
    return measure(_unscored(obstacles, range_error), episodes=1024)


def scenario(obstacles: int = DEFAULTS[0], range_error: float = DEFAULTS[1]) -> Scenario[State]:
    """`obstacles` is their number, 1 to 16; `range_error` the largest error of a reading, as a
    share of it, 0 to 0.2."""
    if not 1 <= obstacles <= 16:
        raise ValueError(f"obstacles is {obstacles}; it can be 1 to 16")
    if not 0.0 <= range_error <= 0.2:
        raise ValueError(f"range_error is {range_error}; it can be 0 to 0.2")
    returns = _returns(obstacles, range_error)
    return replace(_unscored(obstacles, range_error), returns=returns)
