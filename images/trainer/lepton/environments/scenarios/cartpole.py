"""CartPole: balance a pole on a cart by pushing the cart left or right.

Dynamics, limits and rewards are those of Gymnasium's CartPole-v1, after Barto, Sutton and
Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems" (1983),
with the correction of the equations by Florian (2005); explicit Euler steps of 0.02 s.
"""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenario import Array, Scenario

GRAVITY = 9.8  # m/s²
POLE_MASS = 0.1  # kg
TOTAL_MASS = 1.0 + POLE_MASS  # kg, cart and pole
HALF_LENGTH = 0.5  # m, half of the pole's length
POLE_MASS_LENGTH = POLE_MASS * HALF_LENGTH  # kg m
FORCE = 10.0  # N
STEP = 0.02  # s
POSITION_LIMIT = 2.4  # m
ANGLE_LIMIT = 12 * 2 * math.pi / 360  # rad
START_RANGE = 0.05  # each part of the first state lies within plus and minus this
MAX_STEPS = 500


class State(NamedTuple):
    """Each of shape (n,)."""

    position: Array  # m
    velocity: Array  # m/s
    angle: Array  # rad
    angular_velocity: Array  # rad/s


def reset(n: int, noise: Array) -> State:
    """First states, each part uniform around 0."""
    start = (noise * 2.0 - 1.0) * START_RANGE
    return State(start[:, 0], start[:, 1], start[:, 2], start[:, 3])


def step(state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """One step of 0.02 s. Action 0 pushes left, 1 right; the reward is 1 for every step."""
    xp = array_namespace(state.position)
    position, velocity, angle, angular_velocity = state
    force = xp.astype(action, position.dtype) * (2.0 * FORCE) - FORCE
    cosine, sine = xp.cos(angle), xp.sin(angle)
    push = (force + POLE_MASS_LENGTH * (angular_velocity * angular_velocity) * sine) / TOTAL_MASS
    angular_acceleration = (GRAVITY * sine - cosine * push) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cosine * cosine) / TOTAL_MASS)
    )
    acceleration = push - POLE_MASS_LENGTH * angular_acceleration * cosine / TOTAL_MASS
    position = position + STEP * velocity
    velocity = velocity + STEP * acceleration
    angle = angle + STEP * angular_velocity
    angular_velocity = angular_velocity + STEP * angular_acceleration
    terminated = (abs(position) > POSITION_LIMIT) | (abs(angle) > ANGLE_LIMIT)
    after = State(position, velocity, angle, angular_velocity)
    return after, xp.ones_like(position), terminated


def observe(state: State) -> Array:
    """The whole state, shape (n, 4)."""
    xp = array_namespace(state.position)
    return xp.astype(xp.stack(state, axis=1), xp.float32)


def render(state: State) -> Picture:
    """The cart on its track, within the limits of its position."""
    canvas = Canvas(600, 240, left=-POSITION_LIMIT, right=POSITION_LIMIT, bottom=-0.4, top=1.52)
    x, angle = float(state.position[0]), float(state.angle[0])
    canvas.line((-POSITION_LIMIT, 0.0), (POSITION_LIMIT, 0.0), "line")
    canvas.rectangle((x - 0.25, -0.12), (x + 0.25, 0.12), "dark")
    tip = (x + 2 * HALF_LENGTH * math.sin(angle), 2 * HALF_LENGTH * math.cos(angle))
    canvas.line((x, 0.0), tip, "orange", width=10)
    canvas.circle((x, 0.0), 0.04, "blue")
    return canvas.picture()


_HIGH = np.array([POSITION_LIMIT * 2, np.inf, ANGLE_LIMIT * 2, np.inf], dtype=np.float32)


def scenario() -> Scenario[State]:
    """CartPole has no parameters."""
    return Scenario(
        name="CartPole",
        observation_space=spaces.Box(-_HIGH, _HIGH, dtype=np.float32),
        action_space=spaces.Discrete(2),
        max_steps=MAX_STEPS,
        reset=reset,
        step=step,
        observe=observe,
        reset_noise=4,
        render=render,
    )
