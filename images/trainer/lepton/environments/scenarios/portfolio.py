"""Portfolio: divide wealth among a few assets and cash, period by period, where trading costs.

Allocation with proportional costs after Davis and Norman, "Portfolio Selection with Transaction
Costs" (1990), on prices whose drift and spread switch between regimes after Hamilton, "A New
Approach to the Economic Analysis of Nonstationary Time Series and the Business Cycle" (1989), or on
the user's own prices.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.portfolio_market import (
    FEATURE_LIMIT,
    FEATURES,
    Market,
    made_up_market,
    read_market,
)
from lepton.environments.scenarios.portfolio_reference import (
    best_allocation,
    market_returns,
    targets_of,
)
from lepton.environments.tables import Table

PERCENT = 100.0
"""Rewards are in hundredths of logarithmic growth: about percent."""
SHOWN_PERIODS = 104
COLOURS = ("blue", "orange", "green", "purple", "red", "yellow", "dark")


class State(NamedTuple):
    """A is the number of assets."""

    row: Array  # the period of the market that comes next, int64, (n,)
    held: Array  # share of wealth in each asset, (n, A)
    growth: Array  # logarithm of wealth over that at the beginning, (n,)
    paid: Array  # sum of the shares of wealth that trades have cost, (n,)


@dataclass(frozen=True, eq=False)
class Portfolio:
    """The scenario's functions on one market."""

    market: Market
    relatives: Table
    """Price at the end of each period over that at its beginning, (T, A)."""
    features: Table
    first: int
    starts: int
    """Episodes begin in this many periods, from the first on."""
    cost: float

    def reset(self, n: int, noise: Array) -> State:
        """All in cash, in a period drawn evenly from those that leave room for an episode."""
        xp = array_namespace(noise)
        offset = xp.astype(noise[:, 0] * self.starts, xp.int64)
        nothing = xp.zeros_like(noise[:, 0])
        held = xp.stack([nothing] * len(self.market.assets), axis=1)
        return State(offset + self.first, held, nothing, nothing)

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Trade, pay for it, and live through a period. The costs of a trade are taken from
        assets and cash alike."""
        xp = array_namespace(state.held)
        relatives = self.relatives.rows(state.row)
        targets = targets_of(xp, action)
        paid = self.cost * xp.sum(xp.abs(targets - state.held), axis=1)
        grown = targets * relatives
        value = 1.0 + xp.sum(grown - targets, axis=1)
        growth = xp.log1p(-paid) + xp.log(value)
        held = grown / value[:, None]
        # Rounding may make all of it a little more than that.
        held = xp.where(held > 1.0, xp.ones_like(held), held)
        after = State(state.row + 1, held, state.growth + growth, state.paid + paid)
        return after, growth * PERCENT, xp.zeros_like(state.row, dtype=xp.bool)

    def observe(self, state: State) -> Array:
        """Features of the market, then the shares held, (n, A * (FEATURES + 1))."""
        xp = array_namespace(state.held)
        return xp.concat([self.features.rows(state.row), state.held], axis=1)

    def reference(self, state: State) -> Array:
        """Back to the same allocation in every period."""
        xp = array_namespace(state.held)
        shares = best_allocation(self.market, self.cost)
        return xp.stack([xp.full_like(state.growth, share) for share in shares], axis=1)

    def metrics(self, state: State) -> dict[str, Array]:
        """Wealth, 1 at the beginning; costs as a share of wealth; share in cash."""
        xp = array_namespace(state.held)
        return {
            "wealth": xp.exp(state.growth),
            "costs": state.paid,
            "cash": 1.0 - xp.sum(state.held, axis=1),
        }

    def render(self, state: State) -> Picture:
        """Prices up to now on a logarithmic scale, and what is held of each asset."""
        row = int(state.row[0])
        past = self.market.returns[max(0, row - SHOWN_PERIODS) : row]
        lines = np.concatenate([np.zeros((1, past.shape[1])), np.cumsum(past, axis=0)])
        margin = 0.05 + 0.1 * float(np.ptp(lines))
        low, high = float(lines.min()) - margin, float(lines.max()) + margin
        canvas = Canvas(640, 320, left=-0.02, right=1.5, bottom=0.0, top=1.0)

        def point(index: int, value: float) -> tuple[float, float]:
            return index / max(len(past), 1), 0.08 + 0.84 * (value - low) / (high - low)

        canvas.line(point(0, 0.0), point(len(past), 0.0), "line", width=1)
        held = [*state.held[0].tolist(), 1.0 - float(state.held[0].sum())]
        names = [*self.market.assets, "cash"]
        height = 0.7 / len(names)
        for i, (name, share) in enumerate(zip(names, held, strict=True)):
            colour = COLOURS[i % len(COLOURS)] if i < len(names) - 1 else "line"
            if i < len(names) - 1:
                path = [point(j, value) for j, value in enumerate(lines[:, i].tolist())]
                canvas.path(path, colour, width=3)
            top = 0.92 - i * height
            canvas.text((1.06, top - 0.03), f"{name} {share:.0%}", colour)
            canvas.rectangle((1.06, top - 0.08), (1.46, top - 0.12), "pale")
            canvas.rectangle((1.06, top - 0.08), (1.06 + 0.4 * max(share, 0.0), top - 0.12), colour)
        wealth, costs = float(np.exp(state.growth[0])), float(state.paid[0])
        canvas.text((1.06, 0.12), f"wealth {wealth:.3f}", size=16)
        canvas.text((1.06, 0.05), f"costs {costs:.2%}")
        return canvas.picture()


def scenario(
    prices: str | None = None, part: str = "train", periods: int = 260, cost: float = 0.002
) -> Scenario[State]:
    """prices: a CSV file, a line of asset names and then a line of prices for each period; none
    is the made-up market of stocks, bonds and commodities, in weeks.
    part: "train", the first 70 % of the periods, or "test", the rest.
    periods: length of an episode.
    cost: of trading, as a share of what is traded.
    """
    if part not in ("train", "test"):
        raise ValueError(f"part is train or test, not {part}")
    if not 0 <= cost <= 0.1:
        raise ValueError(f"cost is a share between 0 and 0.1 of what is traded, not {cost}")
    market = made_up_market() if prices is None else read_market(prices)
    test = len(market.returns) - market.train
    most = min(market.train, test)
    if not isinstance(periods, int) or not 2 <= periods <= most:
        raise ValueError(
            f"periods is a whole number from 2 to {most}, not {periods}: the market has "
            f"{market.train} periods to train and {test} to test"
        )
    training = market_returns(market, slice(0, market.train), periods, cost)
    rows = slice(0, market.train) if part == "train" else slice(market.train, None)
    here = training if part == "train" else market_returns(market, rows, periods, cost)
    # A point is worth the same in both parts: on its own scale a test part in which the fixed
    # allocation does badly would have none, or a negative one.
    gap = training.reference - training.random
    if gap <= 0:
        raise ValueError(
            "the best fixed allocation grows no faster than random trading over the training part: "
            "with these prices and this cost there is nothing to learn"
        )
    assets = len(market.assets)
    functions = Portfolio(
        market=market,
        relatives=Table(np.exp(market.returns).astype(np.float32)),
        features=Table(market.features),
        first=rows.start,
        starts=(market.train if part == "train" else test) - periods + 1,
        cost=cost,
    )
    low = [-FEATURE_LIMIT] * (assets * FEATURES) + [0.0] * assets
    high = [FEATURE_LIMIT] * (assets * FEATURES) + [1.0] * assets
    return Scenario(
        name="portfolio",
        observation_space=spaces.Box(np.array(low, np.float32), np.array(high, np.float32)),
        action_space=spaces.Box(0.0, 1.0, (assets,), np.float32),
        max_steps=periods,
        reset=functions.reset,
        step=functions.step,
        observe=functions.observe,
        reset_noise=1,
        reference=functions.reference,
        returns=Returns(
            random=PERCENT * (here.reference - gap), reference=PERCENT * here.reference
        ),
        render=functions.render,
        metrics=functions.metrics,
    )
