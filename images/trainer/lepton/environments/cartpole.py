"""CartPole: balance a pole on a cart by pushing the cart left or right.

Dynamics, limits and rewards are those of Gymnasium's CartPole-v1, after Barto, Sutton and
Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control Problems" (1983),
with the correction of the equations by Florian (2005); explicit Euler steps of 0.02 s.
"""

import math

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lepton.environments.scenario import Array, Scenario, State

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


def reset(n: int, noise: Array) -> State:
    """First states: (position m, velocity m/s, angle rad, angular velocity rad/s), each (n,)."""
    start = (noise.T * 2.0 - 1.0) * START_RANGE
    return start[0], start[1], start[2], start[3]


def step(state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """One step of 0.02 s. Action 0 pushes left, 1 right; the reward is 1 for every step."""
    position, velocity, angle, angular_velocity = state
    force = action * (2.0 * FORCE) - FORCE
    cosine, sine = np.cos(angle), np.sin(angle)
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
    return (position, velocity, angle, angular_velocity), np.ones_like(position), terminated


def observe(state: State) -> NDArray[np.float32]:
    """The whole state, shape (n, 4)."""
    observation = np.empty((len(state[0]), 4), np.float32)
    for column, values in enumerate(state):
        observation[:, column] = values
    return observation


_HIGH = np.array([POSITION_LIMIT * 2, np.inf, ANGLE_LIMIT * 2, np.inf], dtype=np.float32)

CARTPOLE = Scenario(
    name="CartPole",
    observation_space=spaces.Box(-_HIGH, _HIGH, dtype=np.float32),
    action_space=spaces.Discrete(2),
    max_steps=MAX_STEPS,
    reset=reset,
    step=step,
    observe=observe,
    reset_noise=4,
)
