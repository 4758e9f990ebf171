"""The dynamic window approach: the best of the velocities that a robot can reach and stop from.

Fox, Burgard and Thrun, "The Dynamic Window Approach to Collision Avoidance", IEEE Robotics &
Automation Magazine 4(1), 1997.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from array_api_compat import array_namespace

from lepton.environments.scenario import Array

SPEEDS = 5
TURN_RATES = 9
"""The window is searched on a grid of so many speeds and turn rates."""
_STANDING = 0.05  # m/s, below it the robot is taken to turn on the spot
_STRAIGHT = 1e-3  # 1/m, the least curvature: an arc that leaves the line by 8 mm in 4 m


@dataclass(frozen=True)
class Drive:
    """What velocities a robot can have, and how fast they change."""

    max_speed: float  # m/s, forwards; it does not drive backwards
    max_turn_rate: float  # rad/s, to either side
    acceleration: float  # m/s²
    turn_acceleration: float  # rad/s²
    interval: float  # s, in which velocities are constant

    def next_speed(self, speed: Array, wanted: Array) -> Array:
        """Speed in the next interval, in m/s."""
        return _approach(speed, wanted, self.acceleration * self.interval, 0.0, self.max_speed)

    def next_turn_rate(self, turn_rate: Array, wanted: Array) -> Array:
        """Turn rate in the next interval, in rad/s."""
        reach = self.turn_acceleration * self.interval
        return _approach(turn_rate, wanted, reach, -self.max_turn_rate, self.max_turn_rate)


def _approach(value: Array, wanted: Array, reach: float, low: float, high: float) -> Array:
    xp = array_namespace(value)
    return value + xp.clip(xp.clip(wanted, low, high) - value, -reach, reach)


@dataclass(frozen=True)
class Weights:
    """Of the three parts of the objective, and the room to keep around the robot."""

    heading: float
    clearance: float
    speed: float
    margin: float  # m


def best_velocities(
    drive: Drive,
    weights: Weights,
    *,
    radius: float,
    speed: Array,
    turn_rate: Array,
    goal_distance: Array,
    goal_direction: Array,
    goal_radius: float,
    ranges: Array,
    beam_angles: tuple[float, ...],
    max_range: float,
) -> Array:
    """Speed and turn rate for the next interval, (n, 2), in m/s and rad/s.

    `radius` is the robot's in m; the goal is reached `goal_radius` m before its centre, which lies
    `goal_direction` rad to the left of the heading; `ranges` (n, beams) are in m, where `max_range`
    stands for nothing met. All other arrays are of shape (n,).
    """
    xp = array_namespace(speed)
    speeds, turn_rates = _window(drive, speed, turn_rate)
    curvature = turn_rates / xp.clip(speeds, _STANDING, None)
    free = clearance(curvature, ranges, beam_angles, max_range, radius + weights.margin)
    # Where it will stand, and look, if it brakes after this interval.
    braking = speeds * drive.interval + speeds * speeds / (2.0 * drive.acceleration)
    before_goal = xp.clip(goal_distance - goal_radius, 0.0, None)[:, None]
    travelled = xp.minimum(braking, before_goal)
    turned = turn_rates * (drive.interval + abs(turn_rates) / (2.0 * drive.turn_acceleration))
    x = travelled * xp.cos(0.5 * turned)
    y = travelled * xp.sin(0.5 * turned)
    goal_x = (goal_distance * xp.cos(goal_direction))[:, None] - x
    goal_y = (goal_distance * xp.sin(goal_direction))[:, None] - y
    # atan2 of the goal in the frame that has turned, so that it needs no wrapping.
    cosine, sine = xp.cos(turned), xp.sin(turned)
    error = xp.atan2(cosine * goal_y - sine * goal_x, cosine * goal_x + sine * goal_y)
    # What lies behind the goal does not matter.
    useful = xp.minimum(free, goal_distance[:, None])
    objective = (
        weights.heading * (1.0 - abs(error) / math.pi)
        + weights.clearance * useful / max_range
        + weights.speed * speeds / drive.max_speed
    )
    moves = (speeds > _STANDING) & (braking <= free)
    # Where nothing else can be stopped from in time: brake, and turn to the side with more room,
    # or on to that to which it is turning already.
    room = turn_rate
    for beam, angle in enumerate(beam_angles):
        room = room + math.sin(angle) * ranges[:, beam] / max_range
    side = (1.0 - 2.0 * xp.astype(room < 0.0, xp.float32))[:, None]
    escape = 0.1 * side * turn_rates / drive.max_turn_rate - speeds / drive.max_speed
    objective = xp.where(moves, objective, escape - 10.0)
    best = xp.argmax(objective, axis=1)
    rows = xp.astype(xp.cumulative_sum(xp.ones_like(best)), best.dtype) - 1
    flat = best + rows * objective.shape[1]
    chosen = [xp.take(xp.reshape(part, (-1,)), flat) for part in (speeds, turn_rates)]
    return xp.stack(chosen, axis=1)


def _window(drive: Drive, speed: Array, turn_rate: Array) -> tuple[Array, Array]:
    """Speeds and turn rates that can be reached in the next interval, (n, SPEEDS * TURN_RATES)."""
    xp = array_namespace(speed)
    shares = [2.0 * i / (SPEEDS - 1) - 1.0 for i in range(SPEEDS)]
    reach = drive.acceleration * drive.interval
    speeds = [drive.next_speed(speed, speed + reach * share) for share in shares]
    shares = [2.0 * i / (TURN_RATES - 1) - 1.0 for i in range(TURN_RATES)]
    reach = drive.turn_acceleration * drive.interval
    turns = [drive.next_turn_rate(turn_rate, turn_rate + reach * share) for share in shares]
    return (
        xp.stack([v for v in speeds for _ in turns], axis=1),
        xp.stack([w for _ in speeds for w in turns], axis=1),
    )


def _points(ranges: Array, beam_angles: tuple[float, ...]) -> list[tuple[Array, float]]:
    """Distances (n, 1) and directions of what there is to keep away from: what the beams met, and
    halfway between two beams as near as the nearer of both."""
    xp = array_namespace(ranges)
    met = [ranges[:, beam : beam + 1] for beam in range(len(beam_angles))]
    points = list(zip(met, beam_angles, strict=True))
    for one, other in pairwise(tuple(points)):
        points.append((xp.minimum(one[0], other[0]), 0.5 * (one[1] + other[1])))
    return points


def clearance(
    curvature: Array, ranges: Array, beam_angles: tuple[float, ...], max_range: float, radius: float
) -> Array:
    """Metres that a disc of this radius can follow an arc before it touches a point that a beam
    met, at most `max_range`. Curvatures (n, m) in 1/m, ranges (n, beams), result (n, m).

    `offset` is how far a point lies beside the arc, `along` the arc's length to the place next to
    it. Both are written such that nothing cancels on nearly straight arcs.
    """
    xp = array_namespace(curvature)
    free = xp.full_like(curvature, max_range)
    straight = xp.full_like(curvature, _STRAIGHT)
    curvature = xp.where(abs(curvature) < _STRAIGHT, straight, curvature)
    for distance, angle in _points(ranges, beam_angles):
        x, y = distance * math.cos(angle), distance * math.sin(angle)
        squared = x * x + y * y
        scaled = xp.sqrt(xp.clip(1.0 + curvature * (curvature * squared - 2.0 * y), 1e-6, None))
        offset = (2.0 * y - curvature * squared) / (1.0 + scaled)
        along = xp.atan2(curvature * x, 1.0 - curvature * y) / curvature
        # Of a point that is already within the radius, one can still drive away.
        room = xp.clip(squared, None, radius * radius) - offset * offset
        touch = along - xp.sqrt(xp.clip(room, 0.0, None) / scaled)
        misses = (room <= 0.0) | (along <= 0.0) | (distance >= max_range)
        # A `where` on so irregular a mask costs more than all of this.
        touch = xp.clip(touch, 0.0, None) + max_range * xp.astype(misses, xp.float32)
        free = xp.minimum(free, touch)
    return free
