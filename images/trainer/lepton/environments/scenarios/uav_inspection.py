"""uav-inspection: a quadrotor photographs points of a site in gusty wind, with little energy left.

How it flies is in `uav_flight`, how its route is made in `uav_route`, what it knows in `uav_site`,
and the reference in `uav_pilot`.
"""

import math
from dataclasses import replace
from functools import cache, partial

import numpy as np
from array_api_compat import array_namespace, device
from gymnasium import spaces

from lepton.environments.arrays import constant
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios import uav_flight as flight
from lepton.environments.scenarios import uav_route as route
from lepton.environments.scenarios.uav_picture import render
from lepton.environments.scenarios.uav_pilot import PLAN, RULE, fly
from lepton.environments.scenarios.uav_site import (
    CALM,
    ENERGY,
    MAX_SPEED,
    MAX_STEPS,
    REACH,
    SITE,
    STEP,
    State,
    heading,
    homeward,
    next_target,
    turned,
)
from lepton.environments.scores import measure

ROUTE_SPEED = 12.0  # m/s, by which the route's length is made a time
MISSED_COST = 10.0  # s, for each point
FETCH_COST = 30.0  # s, for a landing elsewhere than at the base

DEFAULTS = (6, 8.0)
"""Points and wind."""
DEFAULT_RETURNS = Returns(random=-143.36, reference=-11.56)


def reset(n: int, noise: Array, points: int, wind: float) -> State:
    """It hovers over the base; points, wind and energy are drawn evenly."""
    xp = array_namespace(noise)
    queue_x, queue_y = route.nearest_insertion(
        SITE * (2.0 * noise[:, 3 : 3 + points] - 1.0), SITE * (2.0 * noise[:, 3 + points :] - 1.0)
    )
    mean, direction = wind * noise[:, 0], 2.0 * math.pi * noise[:, 1]
    zero = xp.zeros_like(mean)
    state = State(
        x=zero,
        y=zero,
        velocity_x=zero,
        velocity_y=zero,
        wind_x=mean * xp.cos(direction),
        wind_y=mean * xp.sin(direction),
        gust_x=zero,
        gust_y=zero,
        energy=ENERGY[0] + (ENERGY[1] - ENERGY[0]) * noise[:, 2],
        left=zero + points,
        queue_x=queue_x,
        queue_y=queue_y,
        route=route.length(zero, zero, queue_x, queue_y),
        target_x=zero,
        target_y=zero,
    )
    target_x, target_y = next_target(state, PLAN)
    return state._replace(target_x=target_x, target_y=target_y)


def _wanted(state: State, action: Array) -> tuple[Array, Array]:
    """The velocity that the action asks for, to the east and to the north, in m/s."""
    xp = array_namespace(state.x)
    cosine, sine = heading(state)
    wanted_x, wanted_y = turned(action[:, 0], action[:, 1], cosine, -sine)
    speed = xp.sqrt(wanted_x * wanted_x + wanted_y * wanted_y)
    share = MAX_SPEED / xp.clip(speed, MAX_SPEED, None)
    return share * wanted_x, share * wanted_y


def step(state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """Half a second of flight. The action holds the wanted velocity over ground along the heading
    and to the left of it, (n, 2), in m/s."""
    xp = array_namespace(state.x)
    wanted_x, wanted_y = _wanted(state, action)
    air_x = state.velocity_x - state.wind_x - state.gust_x
    air_y = state.velocity_y - state.wind_y - state.gust_y
    drag_x, drag_y = flight.drag(air_x, air_y)
    push_x, push_y = flight.autopilot(
        wanted_x - state.velocity_x, wanted_y - state.velocity_y, drag_x, drag_y
    )
    velocity_x = state.velocity_x + STEP * (push_x + drag_x)
    velocity_y = state.velocity_y + STEP * (push_y + drag_y)
    x = state.x + (0.5 * STEP) * (state.velocity_x + velocity_x)
    y = state.y + (0.5 * STEP) * (state.velocity_y + velocity_y)
    watts = flight.power(air_x * air_x + air_y * air_y, push_x * push_x + push_y * push_y)
    energy = state.energy - watts * (STEP / 3600.0)
    mean = xp.sqrt(state.wind_x * state.wind_x + state.wind_y * state.wind_y)
    gust_x, gust_y = flight.next_gust(state.gust_x, state.gust_y, mean, STEP, noise)

    calm = velocity_x * velocity_x + velocity_y * velocity_y < CALM**2
    dx, dy = state.queue_x - x[:, None], state.queue_y - y[:, None]
    points = state.queue_x.shape[1]
    columns = xp.arange(points, dtype=xp.float32, device=device(x))[None, :]
    waiting = columns < state.left[:, None]
    taken = (dx * dx + dy * dy < REACH**2) & calm[:, None] & waiting
    queue_x = route.without_first(state.queue_x, taken)
    queue_y = route.without_first(state.queue_y, taken)
    left = state.left - xp.astype(xp.any(taken, axis=1), xp.float32)

    to_go = route.length(x, y, queue_x, queue_y)
    flown = state._replace(
        x=x,
        y=y,
        velocity_x=velocity_x,
        velocity_y=velocity_y,
        gust_x=gust_x,
        gust_y=gust_y,
        energy=energy,
        left=left,
        queue_x=queue_x,
        queue_y=queue_y,
        route=to_go,
    )
    target_x, target_y = next_target(flown, PLAN)
    flown = flown._replace(target_x=target_x, target_y=target_y)

    landed = homeward(flown) & (x * x + y * y < REACH**2) & calm
    forced = (energy <= 0.0) & ~landed
    ended = landed | forced
    reward = (state.route - to_go) / ROUTE_SPEED - STEP
    reward = reward - FETCH_COST * xp.astype(forced, xp.float32)
    reward = reward - MISSED_COST * left * xp.astype(ended, xp.float32)
    return flown, reward, ended


def observe(state: State) -> Array:
    """Shape (n, 16 + 2 points); the page says what the columns are."""
    xp = array_namespace(state.x)
    axes = heading(state)
    to_x, to_y = state.target_x - state.x, state.target_y - state.y
    metres = xp.sqrt(to_x * to_x + to_y * to_y)
    wind = turned(state.wind_x, state.wind_y, *axes)
    gust = turned(state.gust_x, state.gust_y, *axes)
    velocity = turned(state.velocity_x, state.velocity_y, *axes)
    base = turned(-state.x, -state.y, *axes)
    home, route_energy = _energies(state)
    own = xp.stack(
        [
            metres / 100.0,
            xp.clip(metres / 30.0, None, 1.0),
            velocity[0] / 10.0,
            velocity[1] / 10.0,
            wind[0] / 10.0,
            wind[1] / 10.0,
            gust[0] / 3.0,
            gust[1] / 3.0,
            state.energy / 2.0,
            xp.clip(state.energy - home, -1.0, 1.0),
            xp.clip(state.energy - route_energy, -1.0, 1.0),
            xp.astype(homeward(state), xp.float32),
            state.left / state.queue_x.shape[1],
            state.route / 500.0,
            base[0] / 100.0,
            base[1] / 100.0,
        ],
        axis=1,
    )
    cosine, sine = (part[:, None] for part in axes)
    to_x, to_y = state.queue_x - state.x[:, None], state.queue_y - state.y[:, None]
    ahead, left = turned(to_x, to_y, cosine, sine)
    return xp.concat([own, ahead / 100.0, left / 100.0], axis=1)


def _energies(state: State) -> tuple[Array, Array]:
    """Wh for the way to the base, and for that over the queue, without the plan's stops, (n,)."""
    xp = array_namespace(state.x)
    zero = xp.zeros_like(state.x)[:, None]
    from_x = xp.concat([state.x[:, None], state.queue_x, state.x[:, None]], axis=1)
    from_y = xp.concat([state.y[:, None], state.queue_y, state.y[:, None]], axis=1)
    to_x = xp.concat([state.queue_x, zero, zero], axis=1) - from_x
    to_y = xp.concat([state.queue_y, zero, zero], axis=1) - from_y
    legs = flight.leg_energy(
        to_x, to_y, state.wind_x[:, None], state.wind_y[:, None], PLAN.speed, 0.0
    )
    return legs[:, -1], xp.sum(legs[:, :-1], axis=1)


def reference(state: State) -> Array:
    """The route's points in order, as far as the energy allows."""
    xp = array_namespace(state.x)
    return fly(state, xp.broadcast_to(constant(state.x, RULE)[None, :], (state.x.shape[0], 3)))


def metrics(state: State) -> dict[str, Array]:
    """What is left to do, and to do it with."""
    return {
        "points_left": state.left,
        "route_left": state.route,
        "energy_left": state.energy,
    }


def _unscored(points: int, wind: float) -> Scenario[State]:
    limit = np.full(2, MAX_SPEED, np.float32)
    return Scenario(
        name="uav-inspection",
        observation_space=spaces.Box(-np.inf, np.inf, (16 + 2 * points,), np.float32),
        action_space=spaces.Box(-limit, limit),
        max_steps=MAX_STEPS,
        reset=partial(reset, points=points, wind=wind),
        step=step,
        observe=observe,
        reset_noise=3 + 2 * points,
        step_noise=2,
        reference=reference,
        render=render,
        metrics=metrics,
    )


@cache
def _returns(points: int, wind: float) -> Returns:
    if (points, wind) == DEFAULTS:
        return DEFAULT_RETURNS
    return measure(_unscored(points, wind), episodes=1024)


def scenario(points: int = DEFAULTS[0], wind: float = DEFAULTS[1]) -> Scenario[State]:
    """`points` to photograph, 1 to 12; `wind` is the strongest mean wind in m/s, 0 to 12."""
    if not 1 <= points <= 12:
        raise ValueError(f"points is {points}; it can be 1 to 12")
    if not 0.0 <= wind <= 12.0:
        raise ValueError(f"wind is {wind}; it can be 0 to 12 m/s")
    return replace(_unscored(points, wind), returns=_returns(points, wind))
