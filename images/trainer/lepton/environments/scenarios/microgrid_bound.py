"""What a microgrid's battery could save at most: a linear programme that knows the whole week.

No controller does better, since none knows the loads and the sun of hours to come. SciPy is
imported here only when it is used: training needs none.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton.environments.scenario import Array, Scenario
from lepton.environments.scenarios.microgrid_site import (
    DEMAND_HOURS,
    HOURS,
    OFF_PEAK,
    PRICES,
    START,
    WEAR,
    Site,
    State,
)
from lepton.environments.scores import play

Hours = NDArray[np.float64]
"""Shape (episodes, HOURS)."""


def net_loads(scenario: Scenario[State], episodes: int, seed: int = 0) -> Hours:
    """What the site takes less what its panels give, kW, in the episodes that `scores.play` plays
    with this number and seed. No action has a part in it."""
    seen: list[NDArray[Any]] = []

    def step(state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        after = scenario.step(state, action, noise)
        seen.append(after[0].load - after[0].sun)
        return after

    def rest(state: State, noise: Array) -> Array:
        return np.zeros((episodes, 2), np.float32)

    play(replace(scenario, step=step), rest, 0, episodes, seed)
    return np.stack(seen, axis=1).astype(np.float64)


def most_saved(site: Site, net: Hours) -> NDArray[np.float64]:
    """What the best use of the battery saves in each of these weeks, $, shape (episodes,)."""
    from scipy import sparse  # type: ignore[import-untyped]
    from scipy.optimize import linprog  # type: ignore[import-untyped]

    prices, sell = np.array(PRICES), np.full(HOURS, site.sell_price)
    counts = np.flatnonzero(DEMAND_HOURS)
    days = HOURS // 24
    # Unknowns, for each hour: energy taken, given, bought, sold, and left in the battery; and each
    # day's demand.
    cost = np.concatenate(
        [
            np.zeros(HOURS),
            np.full(HOURS, WEAR),
            prices,
            -sell,
            np.zeros(HOURS),
            np.full(days, site.demand_price),
        ]
    )
    cost[5 * HOURS - 1] = -OFF_PEAK
    one, nothing = sparse.eye(HOURS), sparse.csr_array((HOURS, HOURS))
    no_days = sparse.csr_array((HOURS, days))
    change = one - sparse.eye(HOURS, k=-1)
    # What is bought and given goes into the load, into the battery, and to the grid.
    balance = sparse.hstack([-one, one, one, -one, nothing, no_days])
    storage = sparse.hstack(
        [-site.one_way * one, one / site.one_way, nothing, nothing, change, no_days]
    )
    of_day = sparse.csr_array(
        (np.ones(len(counts)), (np.arange(len(counts)), counts // 24)), (len(counts), days)
    )
    bought = sparse.csr_array(one)[counts]
    none = sparse.csr_array((len(counts), HOURS))
    demand = sparse.hstack([none, none, bought, none, none, -of_day])
    begin = np.zeros(HOURS)
    begin[0] = START * site.capacity
    bounds = (
        [(0.0, site.power)] * (2 * HOURS)
        + [(0.0, None)] * (2 * HOURS)
        + [(0.0, site.capacity)] * HOURS
        + [(0.0, None)] * days
    )
    paid = []
    for week in net:
        solved = linprog(
            cost,
            A_ub=demand,
            b_ub=np.zeros(len(counts)),
            A_eq=sparse.vstack([balance, storage]),
            b_eq=np.concatenate([week, begin]),
            bounds=bounds,
        )
        assert solved.success, solved.message
        paid.append(solved.fun + OFF_PEAK * START * site.capacity)
    saved: NDArray[np.float64] = _plain_bill(site, net) - np.array(paid)
    return saved


def _plain_bill(site: Site, net: Hours) -> NDArray[np.float64]:
    """$ for each week without a battery."""
    energy = np.where(net > 0.0, np.array(PRICES), site.sell_price) * net
    counted = np.clip(net, 0.0, None) * np.array(DEMAND_HOURS)
    demand = counted.reshape(len(net), -1, 24).max(axis=2)
    bill: NDArray[np.float64] = energy.sum(axis=1) + site.demand_price * demand.sum(axis=1)
    return bill
