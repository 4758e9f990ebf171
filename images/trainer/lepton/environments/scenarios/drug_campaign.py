"""A campaign of the drug-screening scenario: its money, what it makes and finds, and the compounds
that its design tool proposes."""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from lepton.environments.arrays import constant, first_highest, inwards, outwards
from lepton.environments.sampling import normal
from lepton.environments.scenario import Array
from lepton.environments.scenarios.drug_library import (
    AVERAGE,
    COMPOSITION,
    COMPOUNDS,
    CORE_SPREAD,
    CORES,
    OWN_SPREAD,
    PARTS,
    SUBSTITUENT_SPREAD,
    SUBSTITUENTS,
    Belief,
    activities,
    expectation,
    learn,
    places_of,
    prior,
    sum_of,
    sums,
)
from lepton.environments.tables import Table

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

_OF_CORE = (2.0 * FAR, 2.0 * FAR, -2.0 * FAR, -2.0 * FAR)
_OF_SUBSTITUENT = (FAR, -FAR, FAR, -FAR)
_NEARER = (_OF_CORE,) * CORES + (_OF_SUBSTITUENT,) * SUBSTITUENTS
"""(PARTS, KINDS): how much nearer to each kind compounds are for one of their parts that is there.
A core counts more than a substituent."""
_ONLY = Table(np.eye(COMPOUNDS, dtype=np.float32))
"""(COMPOUNDS, COMPOUNDS): 1 for the compound itself."""


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
    best = xp.sort(activity, axis=1, stable=False)[:, -LEADS:]
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
    """Thousand US dollars to make and assay each compound now, (COMPOUNDS, n)."""
    return ASSAY_COST + sums(inwards(state.prices))


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
    cost = ASSAY_COST + sum_of(state.prices, places_of(compound))
    is_paid = cost <= state.left
    paid = xp.astype(is_paid, cost.dtype)
    activity = at(state.activity, one)[:, 0]
    result = activity + error * normal(noise[:, 0], noise[:, 1])
    belief = learn(Belief(state.mean, state.covariance), compound, result, paid, error)

    leads, gain = _insert(state.leads, xp.where(is_paid, activity, INACTIVE))
    leads_measured, _ = _insert(state.leads_measured, xp.where(is_paid, result, INACTIVE))
    after = state._replace(
        mean=belief.mean,
        covariance=belief.covariance,
        measured=state.measured + _ONLY.rows(compound) * (paid * result)[:, None],
        prices=state.prices * (1.0 - COMPOSITION.rows(compound) * paid[:, None]),
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
    means = mean - 6.0 * FAR * _is_done(state)
    bounds = means + index.beta * deviation
    there = xp.astype(inwards(state.prices) == 0.0, mean.dtype)
    kinds = sums(there[:, None, :] * constant(mean, _NEARER)[:, :, None])
    best = [first_highest(values[:, None, :] + kinds) for values in (means, bounds)]
    proposed = xp.concat(best)
    n = proposed.shape[1]
    flat = xp.reshape(n * proposed + xp.arange(n, dtype=xp.int64, device=device(mean)), (-1,))
    expected, deviations, cost = (
        outwards(xp.reshape(xp.take(xp.reshape(values, (-1,)), flat, axis=0), proposed.shape))
        for values in (mean, deviation, costs(state))
    )
    return state._replace(
        proposed=outwards(proposed), expected=expected, deviation=deviations, cost=cost
    )


def _is_done(state: State) -> Array:
    """1 for compounds that have been assayed, (COMPOUNDS, n)."""
    xp = array_namespace(state.measured)
    return xp.astype(inwards(state.measured != 0.0), state.measured.dtype)


def best_by_index(state: State, beta: Array | float, price: Array | float) -> Array:
    """The compound of the whole library with the highest index that has not been assayed and that
    there is money for, (n,), or one that there is none for; `beta` and `price` may be arrays
    (n,)."""
    xp = array_namespace(state.mean)
    mean, deviation = expectation(Belief(state.mean, state.covariance))
    cost = costs(state)
    is_dear = xp.astype(cost > state.left, mean.dtype)
    worth = mean + beta * deviation - price * cost
    return first_highest(worth - FAR * (is_dear + 2.0 * _is_done(state)))


def at(values: Array, places: Array) -> Array:
    """Of each row of `values` (n, w) those at its `places` (n, k), shape (n, k)."""
    xp = array_namespace(values)
    n, width = values.shape
    rows = width * xp.arange(n, dtype=xp.int64, device=device(values))
    flat = xp.reshape(places + rows[:, None], (-1,))
    return xp.reshape(xp.take(xp.reshape(values, (-1,)), flat, axis=0), places.shape)
