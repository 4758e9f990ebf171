"""Scores: what random actions and the reference controller reach, by playing whole episodes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.spaces import random_actions, random_numbers

EPISODES = 4096

Policy = Callable[[Any, Array], Array]
"""(state, noise) -> actions."""


def play(
    scenario: Scenario[Any],
    policy: Policy,
    policy_noise: int,
    episodes: int = EPISODES,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Sums of the scenario's plain rewards, one for each episode, shape (episodes,).

    `policy` sees the state and `policy_noise` uniform numbers, shape (episodes, policy_noise).
    """
    seeds = np.arange(episodes, dtype=np.int64) + seed
    drawn = 0

    def noise(width: int) -> Array:
        nonlocal drawn
        drawn += 1
        return uniform(seeds, np.full(episodes, drawn, np.int64), width)

    state = scenario.reset(episodes, noise(scenario.reset_noise))
    returns = np.zeros(episodes)
    running = np.ones(episodes, np.bool_)
    for _ in range(scenario.max_steps):
        action = policy(state, noise(policy_noise))
        state, reward, terminated = scenario.step(state, action, noise(scenario.step_noise))
        returns += np.where(running, reward, 0.0)
        running &= ~terminated
        if not running.any():
            break
    return returns


def random_returns(
    scenario: Scenario[Any], episodes: int = EPISODES, seed: int = 0
) -> NDArray[np.float64]:
    """Plain returns of actions drawn evenly from the action space."""
    space = scenario.action_space

    def act(state: Any, noise: Array) -> Array:
        return random_actions(space, noise)

    return play(scenario, act, random_numbers(space), episodes, seed)


def reference_returns(
    scenario: Scenario[Any], episodes: int = EPISODES, seed: int = 0
) -> NDArray[np.float64]:
    """Plain returns of the scenario's reference controller."""
    reference = scenario.reference
    assert reference is not None, scenario.name
    return play(scenario, lambda state, _: reference(state), 0, episodes, seed)


def measure(scenario: Scenario[Any], episodes: int = EPISODES, seed: int = 0) -> Returns:
    """The two returns that define the score of this scenario."""
    return Returns(
        random=float(random_returns(scenario, episodes, seed).mean()),
        reference=float(reference_returns(scenario, episodes, seed).mean()),
    )
