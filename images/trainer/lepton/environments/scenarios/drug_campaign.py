"""A campaign of the drug-screening scenario: its money, what it makes and finds, and the compounds
that its design tool proposes."""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from lepton.environments.sampling import normal
from lepton.environments.scenario import Array
from lepton.environments.scenarios.drug_library import (
    AVERAGE,
    COMPOUNDS,
    CORE_SPREAD,
    CORES,
    OWN_SPREAD,
    PARTS,
    SUBSTITUENT_SPREAD,
    Belief,
    activities,
    composition,
    expectation,
    learn,
    parts_of,
    prior,
    sums,
)

SUBSTITUENT_COST, ASSAY_COST = 1.0, 1.0
"""Thousand US dollars: a substituent that has not been bought, and making and assaying a compound
of parts that are there."""
CORE_COSTS = (1.5, 9.0)
"""Between which a route to a core costs, in thousand US dollars. It is known from the start."""
SPARE = (10.0, 18.0)
"""Thousand US dollars that a campaign has beside the money for cores."""
LEADS = 5
"""Compounds that a campaign is judged by."""
INACTIVE = 4.0  # pIC50 of a lead that has not been found: 100 µmol/L
FAR = 50.0
"""More than indices of compounds differ by."""

RESET_NOISE = PARTS + COMPOUNDS + 2
STEP_NOISE = 2
KINDS = 4
"""Compounds whose core and substituent are there, whose core is, whose substituent is, and of which
neither is. All of a kind cost the same."""
PROPOSALS = 2 * KINDS


class Index(NamedTuple):
    """What a compound is worth, in pIC50: expected activity + beta x its standard deviation
    - price x thousand US dollars that it costs."""

    beta: float
    price: float


class State(NamedTuple):
    """First axis n."""

    activity: Array  # (n, COMPOUNDS): hidden, pIC50
    offer: Array  # (n,): hidden, by how much the best LEADS of them exceed INACTIVE together
    mean: Array  # (n, PARTS): of the belief
    covariance: Array  # (n, PARTS, PARTS): of the belief
    measured: Array  # (n, COMPOUNDS): measured pIC50, 0 where not assayed
    prices: Array  # (n, PARTS): thousand US dollars that each costs, 0 for those at hand
    leads: Array  # (n, LEADS): hidden, activities of the best compounds assayed, best first
    leads_measured: Array  # (n, LEADS): the best measurements, best first
    core_cost: Array  # (n,): thousand US dollars
    left: Array  # (n,): thousand US dollars
    proposed: Array  # (n, PROPOSALS): compounds that can be ordered now, int64
    expected: Array  # (n, PROPOSALS): their expected activities, pIC50
    deviation: Array  # (n, PROPOSALS): and the standard deviations of those
    cost: Array  # (n, PROPOSALS): thousand US dollars that they cost


def begin(noise: Array, routes: float, core_costs: tuple[float, float]) -> State:
    """Campaigns on new targets, of which nothing is known, with money for `routes` cores."""
    xp = array_namespace(noise)
    activity = activities(noise[:, :-2])
    best = xp.sort(activity, axis=1)[:, -LEADS:]
    offer = -LEADS * INACTIVE
    for k in range(LEADS):  # a sum whose order is the same for batches of any size
        offer = offer + best[:, k]
    least, most = core_costs
    core_cost = least * (most / least) ** noise[:, -2]
    spare = SPARE[0] + (SPARE[1] - SPARE[0]) * noise[:, -1]
    nothing = xp.zeros_like(activity)
    none = nothing[:, :LEADS] + INACTIVE
    cores = nothing[:, :CORES] + core_cost[:, None]
    substituents = nothing[:, CORES:PARTS] + SUBSTITUENT_COST
    belief = prior(noise)
    # Nothing tells compounds apart yet, so that the first of the library stands for all.
    first = xp.zeros((noise.shape[0], PROPOSALS), dtype=xp.int64, device=device(noise))
    all_alike = nothing[:, :PROPOSALS]
    return State(
        activity=activity,
        offer=offer,
        mean=belief.mean,
        covariance=belief.covariance,
        measured=nothing,
        prices=xp.concat([cores, substituents], axis=1),
        leads=none,
        leads_measured=none,
        core_cost=core_cost,
        left=routes * core_cost + spare,
        proposed=first,
        expected=all_alike + AVERAGE,
        deviation=all_alike + math.hypot(CORE_SPREAD, SUBSTITUENT_SPREAD, OWN_SPREAD),
        cost=all_alike + (core_cost + (SUBSTITUENT_COST + ASSAY_COST))[:, None],
    )


def costs(state: State) -> Array:
    """Thousand US dollars to make and assay each compound now, (n, COMPOUNDS)."""
    return ASSAY_COST + sums(state.prices)


def at_hand(state: State) -> tuple[Array, Array]:
    """Numbers of the cores and of the substituents that have been made or bought, (n,)."""
    xp = array_namespace(state.prices)
    there = xp.astype(state.prices == 0.0, state.prices.dtype)
    # Faster than a sum along so short an axis.
    cores = substituents = xp.zeros_like(there[:, 0])
    for k in range(CORES):
        cores = cores + there[:, k]
    for k in range(CORES, PARTS):
        substituents = substituents + there[:, k]
    return cores, substituents


def assay(state: State, compound: Array, noise: Array, error: float) -> tuple[State, Array, Array]:
    """Make and assay compounds (n,) that have not been assayed; the state, without new proposals,
    by how many pIC50 the leads improve together, and whether there was money for it."""
    xp = array_namespace(noise)
    one = compound[:, None]
    cost = at(costs(state), one)[:, 0]
    is_paid = cost <= state.left
    paid = xp.astype(is_paid, cost.dtype)
    activity = at(state.activity, one)[:, 0]
    result = activity + error * normal(noise[:, 0], noise[:, 1])
    belief = learn(Belief(state.mean, state.covariance), compound, result, paid, error)

    leads, gain = _insert(state.leads, xp.where(is_paid, activity, INACTIVE))
    leads_measured, _ = _insert(state.leads_measured, xp.where(is_paid, result, INACTIVE))
    number = xp.arange(COMPOUNDS, dtype=xp.int64, device=device(noise))
    core, substituent = parts_of(one)
    used = (number[:PARTS] == core) | (number[:PARTS] == substituent)
    here = xp.astype(number == one, cost.dtype)
    after = state._replace(
        mean=belief.mean,
        covariance=belief.covariance,
        measured=state.measured + here * (paid * result)[:, None],
        prices=state.prices * (1.0 - xp.astype(used, cost.dtype) * paid[:, None]),
        leads=leads,
        leads_measured=leads_measured,
        left=state.left - paid * cost,
    )
    return after, gain, is_paid


def _insert(best: Array, value: Array) -> tuple[Array, Array]:
    """The best values with one more considered, best first, and by how much their sum grows."""
    xp = array_namespace(best)
    kept, rest = [], value
    for k in range(LEADS):
        kept.append(xp.maximum(best[:, k], rest))
        rest = xp.minimum(best[:, k], rest)
    return xp.stack(kept, axis=1), value - rest


def propose(state: State, index: Index) -> State:
    """With new proposals: of each kind the compound with the highest expected activity, and of each
    that with the highest expected activity + beta x its standard deviation.

    A kind that is empty is replaced by one with the same core, or else by any.
    """
    xp = array_namespace(state.mean)
    mean, deviation = expectation(Belief(state.mean, state.covariance))
    is_done = xp.astype(state.measured != 0.0, mean.dtype)
    there = xp.astype(state.prices == 0.0, mean.dtype)
    kinds = xp.reshape(there @ _kinds(xp, device(mean)), (-1, KINDS, COMPOUNDS))
    means = mean - 6.0 * FAR * is_done
    bounds = means + index.beta * deviation
    best = [xp.argmax(values[:, None, :] + kinds, axis=2) for values in (means, bounds)]
    proposed = xp.concat(best, axis=1)
    return state._replace(
        proposed=proposed,
        expected=at(mean, proposed),
        deviation=at(deviation, proposed),
        cost=at(costs(state), proposed),
    )


@cache
def _kinds(xp: Any, device: Any) -> Array:
    """(PARTS, KINDS * COMPOUNDS): times the parts that are there, how much nearer each compound is
    to being of each kind; a core counts more than a substituent."""
    parts = composition(np, None)
    cores, substituents = parts.copy(), parts.copy()
    cores[CORES:], substituents[:CORES] = 0.0, 0.0
    signs = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))
    weights = [FAR * (2.0 * core * cores + other * substituents) for core, other in signs]
    return xp.asarray(np.concatenate(weights, axis=1), device=device)


def best_by_index(state: State, beta: Array | float, price: Array | float) -> Array:
    """The compound of the whole library with the highest index that has not been assayed and that
    there is money for, (n,), or one that there is none for; `beta` and `price` may be arrays
    (n, 1)."""
    xp = array_namespace(state.mean)
    mean, deviation = expectation(Belief(state.mean, state.covariance))
    cost = costs(state)
    is_done = xp.astype(state.measured != 0.0, mean.dtype)
    is_dear = xp.astype(cost > state.left[:, None], mean.dtype)
    worth = mean + beta * deviation - price * cost
    return xp.argmax(worth - FAR * (is_dear + 2.0 * is_done), axis=1)


def at(values: Array, places: Array) -> Array:
    """Of each row of `values` (n, w) those at its `places` (n, k), shape (n, k)."""
    xp = array_namespace(values)
    n, width = values.shape
    rows = width * xp.arange(n, dtype=xp.int64, device=device(values))
    flat = xp.reshape(places + rows[:, None], (-1,))
    return xp.reshape(xp.take(xp.reshape(values, (-1,)), flat, axis=0), places.shape)
