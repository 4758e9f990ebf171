"""The site of uav-inspection: its measures, what is known at a moment, and where to fly next."""

import math
from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.scenario import Array
from lepton.environments.scenarios import uav_flight as flight
from lepton.environments.scenarios.uav_route import pick

STEP = 0.5  # s
SITE = 120.0  # m, points lie within plus and minus this of the base
REACH = 15.0  # m, from which a point is photographed, and the base landed on
CALM = 5.0  # m/s, ground speed below which a photograph is sharp, and below which it can land
MAX_SPEED = 20.0  # m/s, over ground, that can be wanted
ENERGY = (1.5, 3.5)  # Wh, what a flight may use
LEAST_POWER = 125.0  # W, below what any flight takes
MAX_STEPS = math.ceil(ENERGY[1] * 3600.0 / LEAST_POWER / STEP)
"""The energy never lasts so long."""
_OVER_TARGET = 0.01  # m, nearer than this


class State(NamedTuple):
    """The base is the origin. Each of shape (n,) unless said otherwise."""

    x: Array  # m
    y: Array  # m
    velocity_x: Array  # m/s, over ground
    velocity_y: Array  # m/s
    wind_x: Array  # m/s, mean
    wind_y: Array  # m/s
    gust_x: Array  # m/s
    gust_y: Array  # m/s
    energy: Array  # Wh, what may still be used
    left: Array  # points without a photograph
    queue_x: Array  # m, (n, points), where these are, in the order of the route
    queue_y: Array  # m, (n, points)
    route: Array  # m, from here over the queue to the base
    target_x: Array  # m, of the place to fly to next that `next_target` proposes
    target_y: Array  # m


class Plan(NamedTuple):
    """By what the energy of a way is estimated, of shape (n, 1) or one for all."""

    speed: Array | float  # m/s, over ground
    stop: Array | float  # s, that braking and turning at a point are taken to cost


def next_target(state: State, plan: Plan) -> tuple[Array, Array]:
    """The first point of the queue from which the energy will last to come home, or else the base,
    each (n,), in m."""
    xp = array_namespace(state.x)
    wind_x, wind_y = state.wind_x[:, None], state.wind_y[:, None]
    to_x, to_y = state.queue_x - state.x[:, None], state.queue_y - state.y[:, None]
    there = flight.leg_energy(to_x, to_y, wind_x, wind_y, plan.speed, plan.stop)
    back = flight.leg_energy(-state.queue_x, -state.queue_y, wind_x, wind_y, plan.speed, plan.stop)
    possible = there + back < state.energy[:, None]
    # Behind the points the queue holds the base, so no more than this has to be asked.
    first = xp.argmax(xp.astype(possible, xp.int8), axis=1)
    some = xp.astype(xp.any(possible, axis=1), xp.float32)
    return some * pick(state.queue_x, first)[:, 0], some * pick(state.queue_y, first)[:, 0]


def homeward(state: State) -> Array:
    """Whether the base is the proposed target, (n,)."""
    return (state.target_x == 0.0) & (state.target_y == 0.0)


def heading(state: State) -> tuple[Array, Array]:
    """The direction to the proposed target as a unit vector, each part (n,): the frame in which
    an agent sees and acts."""
    xp = array_namespace(state.x)
    to_x, to_y = state.target_x - state.x, state.target_y - state.y
    metres = xp.sqrt(to_x * to_x + to_y * to_y)
    # Right over the target any direction will do.
    there = xp.astype(metres < _OVER_TARGET, xp.float32)
    share = (1.0 - there) / xp.clip(metres, _OVER_TARGET, None)
    return share * to_x + there, share * to_y


def turned(x: Array, y: Array, cosine: Array, sine: Array) -> tuple[Array, Array]:
    """Parts of a vector along (cosine, sine) and to the left of it."""
    return cosine * x + sine * y, cosine * y - sine * x
