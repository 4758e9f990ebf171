"""The best fixed allocation in hindsight, and what it and random actions earn on a market."""

from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.scenario import Array, Returns
from lepton.environments.scenarios.portfolio_market import Market

FIRST_SHIFT, LAST_SHIFT = 0.25, 0.005
"""Shares that the search for the best allocation moves between assets, halved in between."""
RANDOM_PASSES = 4
"""Passes over the market that random actions are averaged over."""

Floats = NDArray[np.float64]


def targets_of(xp: Array, actions: Array) -> Array:
    """Shares of wealth that actions ask for, both (n, A): scaled down where they exceed it."""
    totals = xp.sum(actions, axis=1)
    return actions / xp.where(totals > 1.0, totals, xp.ones_like(totals))[:, None]


def path_growth(targets: Floats, relatives: Floats, cost: float) -> tuple[Floats, Floats]:
    """Logarithmic growth of wealth in each of T periods before costs, and that lost to costs,
    when `targets` (T, A) are held in them; the first are bought from cash."""
    grown = targets * relatives
    value = 1.0 + (grown - targets).sum(axis=1)
    held = np.concatenate([np.zeros((1, targets.shape[1])), (grown / value[:, None])[:-1]])
    return np.log(value), np.log1p(-cost * np.abs(targets - held).sum(axis=1))


@lru_cache(maxsize=8)
def best_allocation(market: Market, cost: float) -> tuple[float, ...]:
    """The constant-rebalanced portfolio (Cover, "Universal Portfolios", 1991) that would have
    grown most over the training part, net of costs: shares of the assets, the rest is cash.

    The search moves a share from one asset to another, cash among them, as long as that helps,
    and then tries smaller ones. Without costs growth is concave in the shares, so there is no
    other optimum that could hold it up; costs are small beside it.
    """
    relatives = np.exp(market.returns[: market.train])
    assets = relatives.shape[1]

    def growth(shares: Floats) -> float:
        earned, lost = path_growth(np.broadcast_to(shares[:-1], relatives.shape), relatives, cost)
        return float((earned + lost).mean())

    shares = np.full(assets + 1, 1.0 / (assets + 1))  # the last one is cash
    best, shift = growth(shares), FIRST_SHIFT
    while shift >= LAST_SHIFT:
        improved = False
        for source, sink in permutations(range(assets + 1), 2):
            moved = min(shift, float(shares[source]))
            trial = shares.copy()
            trial[source] -= moved
            trial[sink] += moved
            value = growth(trial)
            if value > best:
                best, shares, improved = value, trial, True
        shift = shift if improved else shift / 2
    return tuple(shares[:-1].tolist())


def market_returns(market: Market, rows: slice, periods: int, cost: float) -> Returns:
    """Mean logarithmic growth of an episode of `periods` steps that begins in cash, over all
    first periods that `rows` leave room for."""
    relatives = np.exp(market.returns[rows])
    steps, assets = relatives.shape
    fixed = np.broadcast_to(np.array(best_allocation(market, cost)), relatives.shape)
    seeds = np.arange(steps, dtype=np.int64)
    passes = []
    for draw in range(RANDOM_PASSES):
        actions = uniform(seeds, np.full(steps, draw, np.int64), assets).astype(np.float64)
        passes.append(_mean_growth(targets_of(np, actions), relatives, periods, cost))
    return Returns(
        random=float(np.mean(passes)),
        reference=_mean_growth(fixed, relatives, periods, cost),
    )


def _mean_growth(targets: Floats, relatives: Floats, periods: int, cost: float) -> float:
    earned, lost = path_growth(targets, relatives, cost)
    sums = np.concatenate([[0.0], np.cumsum(earned + lost)])
    windows = sums[periods:] - sums[:-periods]
    first_trade = np.log1p(-cost * targets.sum(axis=1)) - lost
    return float((windows + first_trade[: len(windows)]).mean())
