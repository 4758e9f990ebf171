"""The smallest decision problem: two states, two actions, and an exact solution to hold against.

A Markov decision process whose optimal values are found by hand: with a discount of 0.9,
V = (64, 44) and Q = ((64, 38.2), (43.2, 44)). Theory: Puterman, "Markov Decision Processes" (1994),
chapter 6.
"""

from typing import NamedTuple

from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenario import Array, Returns, Scenario

SAFE, DANGER = 0, 1
FORWARD, BACK = 0, 1
SAFE_PROBABILITY = ((0.8, 0.2), (0.2, 0.8))
"""Of being safe next, by state and action."""
REWARDS = ((10.0, -5.0), (0.0, -10.0))
"""By state and action."""
MAX_STEPS = 100


class State(NamedTuple):
    """Each of shape (n,)."""

    place: Array  # SAFE or DANGER, int64


def _by_state_and_action(
    table: tuple[tuple[float, float], ...], state: Array, action: Array
) -> Array:
    xp = array_namespace(state)
    in_safe = xp.where(action == FORWARD, *table[SAFE])
    in_danger = xp.where(action == FORWARD, *table[DANGER])
    return xp.astype(xp.where(state == SAFE, in_safe, in_danger), xp.float32)


def reset(n: int, noise: Array) -> State:
    """Half of the episodes begin in danger."""
    xp = array_namespace(noise)
    return State(xp.astype(noise[:, 0] < 0.5, xp.int64))


def step(state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
    """Pay for the action and move on. Nothing ends an episode but its length."""
    xp = array_namespace(noise)
    safe_next = _by_state_and_action(SAFE_PROBABILITY, state.place, action)
    place = xp.astype(noise[:, 0] >= safe_next, xp.int64)
    reward = _by_state_and_action(REWARDS, state.place, action)
    return State(place), reward, xp.zeros_like(place, dtype=xp.bool)


def observe(state: State) -> Array:
    """The state itself, shape (n,)."""
    return state.place


def reference(state: State) -> Array:
    """The optimal policy for a discount of 0.9: forward where it is safe, back out of danger."""
    return state.place


def render(state: State) -> Picture:
    """The two states, with the present one filled."""
    canvas = Canvas(400, 200, right=2.0)
    for place, name, colour in ((SAFE, "Safe", "green"), (DANGER, "Danger", "red")):
        here = int(state.place[0]) == place
        canvas.circle((0.5 + place, 0.5), 0.35, colour, filled=here)
        canvas.text((0.5 + place, 0.5), name, "background" if here else colour, 20, "mm")
    return canvas.picture()


def scenario() -> Scenario[State]:
    """It has no parameters."""
    return Scenario(
        name="safe-danger",
        observation_space=spaces.Discrete(2),
        action_space=spaces.Discrete(2),
        max_steps=MAX_STEPS,
        reset=reset,
        step=step,
        observe=observe,
        reset_noise=1,
        step_noise=1,
        reference=reference,
        returns=Returns(random=-125.0, reference=594.0),
        render=render,
    )
