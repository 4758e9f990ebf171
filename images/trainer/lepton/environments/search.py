"""Search for the parameters of a rule: which candidate earns most on the same episodes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton.environments.scenario import Array, Scenario
from lepton.environments.scores import play

Rule = Callable[[Any, Array], Array]
"""(state, parameters of each row (n, ...)) -> actions."""


def candidate_returns(
    scenario: Scenario[Any],
    rule: Rule,
    candidates: NDArray[np.float32],
    episodes: int = 128,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Mean return of each candidate (k, ...), shape (k,); all see the same random numbers, which
    takes most of the luck out of their differences."""
    count = len(candidates)
    rows = np.repeat(candidates, episodes, axis=0)

    def alike(noise: Array) -> Array:
        return np.tile(noise[:episodes], (count, 1))

    same = replace(
        scenario,
        reset=lambda n, noise: scenario.reset(n, alike(noise)),
        step=lambda state, action, noise: scenario.step(state, action, alike(noise)),
    )
    returns = play(same, lambda state, _: rule(state, rows), 0, count * episodes, seed)
    means: NDArray[np.float64] = returns.reshape(count, episodes).mean(axis=1)
    return means


def best_by_turns(
    scenario: Scenario[Any],
    rule: Rule,
    choices: Sequence[Sequence[float]],
    start: Sequence[float],
    episodes: int = 256,
) -> tuple[float, ...]:
    """Values for a rule's parameters, each among its `choices`, of which none can be changed alone
    to earn more: from `start`, one parameter after another takes its best value until all stay."""
    best, before = list(start), None
    while before != best:
        before = list(best)
        for i, values in enumerate(choices):
            candidates = np.array([[*best[:i], value, *best[i + 1 :]] for value in values])
            returns = candidate_returns(scenario, rule, candidates.astype(np.float32), episodes)
            best[i] = values[int(returns.argmax())]
    return tuple(best)
