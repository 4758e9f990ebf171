"""Drug screening: which compounds of a library to make and assay next, to find potent leads before
the money is spent.

After each assay a design tool proposes compounds, the best of each kind: of parts that are there,
with a new substituent, with a new core, or both. The agent decides what to invest in.
"""

from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.drug_campaign import (
    CORE_COSTS,
    FAR,
    KINDS,
    LEADS,
    PROPOSALS,
    RESET_NOISE,
    STEP_NOISE,
    Index,
    State,
    assay,
    at,
    at_hand,
    begin,
    best_by_index,
    propose,
)
from lepton.environments.scenarios.drug_library import AVERAGE, COMPOUNDS, CORES, SUBSTITUENTS
from lepton.environments.scenarios.drug_picture import render
from lepton.environments.scores import measure
from lepton.environments.search import candidate_returns

BETAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
PRICES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.3)
"""Among which the reference's index is searched."""


class Setting(NamedTuple):
    """What the parameters change."""

    noise: float
    routes: float
    core_costs: tuple[float, float]


DEFAULT = Setting(noise=0.5, routes=2.0, core_costs=CORE_COSTS)
INDEX = Index(beta=1.0, price=0.1)
RETURNS = Returns(random=53.52, reference=71.36)
"""What the search with 4,096 campaigns and 65,536 campaigns give for the default."""


def reset(n: int, noise: Array, setting: Setting) -> State:
    """A campaign begins."""
    return begin(noise, setting.routes, setting.core_costs)


def step(
    state: State, action: Array, noise: Array, setting: Setting, index: Index
) -> tuple[State, Array, Array]:
    """Order proposal `action`. One that there is no money for ends the campaign, as it ends when
    there is money for none."""
    xp = array_namespace(noise)
    compound = at(state.proposed, action[:, None])[:, 0]
    after, gain, is_paid = assay(state, compound, noise, setting.noise)
    after = propose(after, index)
    cost = after.cost
    cheapest = xp.minimum(xp.minimum(cost[:, 0], cost[:, 1]), xp.minimum(cost[:, 2], cost[:, 3]))
    can_go_on = cheapest <= after.left
    return after, 100.0 * gain / state.offer, ~(is_paid & can_go_on)


def observe(state: State) -> Array:
    """The proposals, the best measurements, the money, and what has been made, (n, width)."""
    xp = array_namespace(state.mean)
    cores, substituents = at_hand(state)
    cost = state.cost[:, :KINDS]
    known = [
        state.expected - AVERAGE,
        state.deviation,
        cost / 5.0,
        cost / (state.left[:, None] + 0.01),
        state.leads_measured - AVERAGE,
        state.left[:, None] / 20.0,
        state.core_cost[:, None] / 5.0,
        cores[:, None] / CORES,
        substituents[:, None] / SUBSTITUENTS,
    ]
    return xp.clip(xp.concat(known, axis=1), -4.0, 4.0)


def reference(state: State, index: Index) -> Array:
    """Of the proposals that there is money for, the one with the highest index."""
    xp = array_namespace(state.mean)
    worth = state.expected + index.beta * state.deviation - index.price * state.cost
    is_dear = state.cost > state.left[:, None]
    return xp.argmax(worth - FAR * xp.astype(is_dear, worth.dtype), axis=1)


def metrics(state: State) -> dict[str, Array]:
    """Compounds assayed, cores made, the activity of the best of the compounds in pIC50, and
    thousand US dollars that are left."""
    xp = array_namespace(state.mean)
    return {
        "assays": xp.sum(xp.astype(state.measured != 0.0, xp.float32), axis=1),
        "cores": at_hand(state)[0],
        "best": state.leads[:, 0],
        "left": state.left,
    }


def search_index(setting: Setting, episodes: int) -> Index:
    """Of BETAS and PRICES, those with which the best compound by the index leads to most."""
    scenario = _scenario(setting, INDEX)
    free = replace(scenario, step=partial(_step_freely, setting=setting))
    candidates = np.array(list(product(BETAS, PRICES)), np.float32)
    returns = candidate_returns(free, _by_index, candidates, episodes)
    beta, price = candidates[returns.argmax()].tolist()
    return Index(round(beta, 4), round(price, 4))


def _step_freely(
    state: State, compound: Array, noise: Array, setting: Setting
) -> tuple[State, Array, Array]:
    """A step of which the action is any compound of the library."""
    after, gain, is_paid = assay(state, compound, noise, setting.noise)
    return after, 100.0 * gain / state.offer, ~is_paid


def _by_index(state: State, index: Array) -> Array:
    return best_by_index(state, index[:, 0], index[:, 1])


def scenario(
    noise: float = DEFAULT.noise, routes: float = DEFAULT.routes, core_cost: float | None = None
) -> Scenario[State]:
    """noise: standard deviation of an assay's error, 0.05 to 1 pIC50.
    routes: cores that a campaign has money for, beside the rest, 1 to 4.
    core_cost: thousand US dollars for a route to a core, 0.5 to 15; left out, every campaign has
    its own, between 1.5 and 9.
    Raises ValueError for others.
    """
    if not 0.05 <= noise <= 1.0:
        raise ValueError(f"noise must be between 0.05 and 1, not {noise}")
    if not 1.0 <= routes <= 4.0:
        raise ValueError(f"routes must be between 1 and 4, not {routes}")
    if core_cost is not None and not 0.5 <= core_cost <= 15.0:
        raise ValueError(f"core_cost must be between 0.5 and 15, not {core_cost}")
    core_costs = CORE_COSTS if core_cost is None else (float(core_cost), float(core_cost))
    setting = Setting(float(noise), float(routes), core_costs)
    if setting == DEFAULT:
        return replace(_scenario(setting, INDEX), returns=RETURNS)
    return _measured(setting)


@cache
def _measured(setting: Setting) -> Scenario[State]:
    made = _scenario(setting, search_index(setting, episodes=256))
    return replace(made, returns=measure(made, episodes=2048))


def _scenario(setting: Setting, index: Index) -> Scenario[State]:
    width = 2 * PROPOSALS + 2 * KINDS + LEADS + 4
    return Scenario(
        name="drug-screening",
        observation_space=spaces.Box(-4.0, 4.0, (width,), np.float32),
        action_space=spaces.Discrete(PROPOSALS),
        max_steps=COMPOUNDS,
        reset=partial(reset, setting=setting),
        step=partial(step, setting=setting, index=index),
        observe=observe,
        reset_noise=RESET_NOISE,
        step_noise=STEP_NOISE,
        reference=partial(reference, index=index),
        render=render,
        metrics=metrics,
    )
