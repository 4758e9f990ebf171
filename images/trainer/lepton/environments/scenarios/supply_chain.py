"""Supply chain: how much each stage between a factory and a shop orders, week by week.

A serial system with lead times, after Clark and Scarf, "Optimal Policies for a Multi-Echelon
Inventory Problem" (Management Science 6, 1960), with limited capacity as in Glasserman and Tayur,
"Sensitivity Analysis for Base-Stock Levels in Multiechelon Production-Inventory Systems"
(Management Science 41, 1995). Neither has what demand has here: a season, and an autocorrelated
level as in Lee, So and Tang, "The Value of Information Sharing in a Two-Level Supply Chain"
(Management Science 46, 2000).
"""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.arrays import constant
from lepton.environments.drawing import Canvas, Picture
from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.supply_levels import Levels, search
from lepton.environments.scores import measure, play

MAX_STEPS = 52  # weeks
YEAR = 52  # weeks
DEMAND = 10.0  # units/week on average over a year
CAPACITY = 20.0  # units/week that a stage can order
PERSISTENCE, LEVEL_NOISE = 0.9, 0.1  # of the logarithm of the level, from week to week
LEVEL_DEVIATION = LEVEL_NOISE / math.sqrt(1.0 - PERSISTENCE**2)
WEEKLY_NOISE = 0.25  # standard deviation of the logarithm of one week's demand
SMOOTHING = 0.2  # weight of the last week in the observed level
TOP_HOLDING = 1.0  # money for a unit in the shop for a week; less further up
ORDERING = 0.2  # money for each unit that a stage is sent


class State(NamedTuple):
    """S stages, from the shop to the factory; quantities in units."""

    stock: Array  # on hand, (n, S)
    owed: Array  # by each stage to the one below, or to customers, (n, S)
    pipeline: Array  # on the way to each stage, next arrival first, (n, lead time, S)
    week: Array  # of the year, (n,)
    level: Array  # logarithm of the demand's level, which nobody observes, (n,)
    demand: Array  # of the last week, (n,)
    smoothed: Array  # demand over what is usual in that week, exponentially smoothed, (n,)
    demanded: Array  # since the episode began, (n,)
    served: Array  # of that, at once, (n,)


@dataclass(frozen=True)
class Chain:
    """Stages in a row. n is the batch's size."""

    stages: int
    lead_time: int  # weeks
    season: float
    penalty: float  # money for a unit that customers wait a week for

    @cached_property
    def holding(self) -> tuple[float, ...]:
        """Money for a unit at each stage for a week: value is added at every stage."""
        return tuple(TOP_HOLDING * (self.stages - i) / self.stages for i in range(self.stages))

    def reset(self, n: int, noise: Array) -> State:
        """Some week of the year, stocks for up to four weeks, deliveries on the way."""
        xp = array_namespace(noise)
        normal, _ = normal_pair(noise[:, 0], noise[:, 1])
        level = LEVEL_DEVIATION * normal
        week = xp.floor(YEAR * noise[:, 2])
        stock = 4.0 * DEMAND * noise[:, 3:]
        usual = DEMAND * self.usual(week)
        pipeline = xp.ones_like(stock)[:, None, :] * constant(noise, [[[DEMAND]] * self.lead_time])
        none = xp.zeros_like(week)
        return State(
            stock, xp.zeros_like(stock), pipeline, week, level, usual, none + 1.0, none, none
        )

    def usual(self, week: Array) -> Array:
        """Usual demand of a week as a share of the yearly average."""
        xp = array_namespace(week)
        return 1.0 + self.season * xp.sin(2.0 * math.pi / YEAR * week)

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Receive, order `action` (n, S), ship, sell. The reward is minus the week's cost."""
        xp = array_namespace(noise)
        order = xp.clip(xp.astype(action, xp.float32), min=0.0, max=CAPACITY)
        first, second = normal_pair(noise[:, 0], noise[:, 1])
        level = PERSISTENCE * state.level + LEVEL_NOISE * first
        usual = DEMAND * self.usual(state.week)
        relative = xp.exp(
            level + WEEKLY_NOISE * second - 0.5 * (LEVEL_DEVIATION**2 + WEEKLY_NOISE**2)
        )
        demand = usual * relative
        stock = state.stock + state.pipeline[:, 0]
        owed = state.owed + xp.concat([demand[:, None], order[:, :-1]], axis=1)
        sent = xp.minimum(stock, owed)
        stock, owed = stock - sent, owed - sent
        # The factory's material is never short.
        delivered = xp.concat([sent[:, 1:], order[:, -1:]], axis=1)
        pipeline = xp.concat([state.pipeline[:, 1:], delivered[:, None]], axis=1)
        holding = xp.sum(stock * constant(noise, self.holding), axis=1)
        transit = xp.sum(
            xp.sum(pipeline, axis=1) * constant(noise, (*self.holding[1:], 0.0)), axis=1
        )
        cost = holding + transit + self.penalty * owed[:, 0] + ORDERING * xp.sum(delivered, axis=1)
        week = state.week + 1.0
        after = State(
            stock,
            owed,
            pipeline,
            xp.where(week >= YEAR, 0.0, week),
            level,
            demand,
            state.smoothed + SMOOTHING * (relative - state.smoothed),
            state.demanded + demand,
            state.served + xp.clip(demand - owed[:, 0], min=0.0),
        )
        return after, -cost, xp.zeros_like(cost, dtype=xp.bool)

    def observe(self, state: State) -> Array:
        """Quantities in two weeks' average demand, and the time of the year: (n, S (2 + T) + 4)
        with a lead time of T weeks."""
        xp = array_namespace(state.stock)
        n = state.stock.shape[0]
        angle = 2.0 * math.pi / YEAR * state.week
        rest = xp.stack(
            [state.demand / DEMAND, state.smoothed, xp.sin(angle), xp.cos(angle)], axis=1
        )
        scale = 1.0 / (2.0 * DEMAND)
        return xp.concat(
            [
                state.stock * scale,
                state.owed * scale,
                xp.reshape(state.pipeline, (n, self.lead_time * self.stages)) * scale,
                rest,
            ],
            axis=1,
        )

    def position(self, state: State) -> Array:
        """Echelon inventory position of each stage, (n, S): what it and those below it have and
        have been promised, less what customers wait for."""
        xp = array_namespace(state.stock)
        own = state.stock + xp.sum(state.pipeline, axis=1)
        ordered = xp.concat([state.owed[:, 1:], xp.zeros_like(state.owed[:, :1])], axis=1)
        return xp.cumulative_sum(own, axis=1) + ordered - state.owed[:, :1]

    def base_stock(self, levels: Levels, state: State) -> Array:
        """Orders that bring the positions of echelons up to `levels`, as far as they can."""
        xp = array_namespace(state.stock)
        missing = constant(state.stock, levels) - self.position(state)
        return xp.clip(missing, min=0.0, max=CAPACITY)

    def best_levels(self, episodes: int) -> Levels:
        """Echelon base-stock levels that cost least over so many episodes."""
        made = _make(self)

        def value(levels: Levels) -> float:
            return float(
                play(made, lambda state, _: self.base_stock(levels, state), 0, episodes).mean()
            )

        weeks = [self.lead_time * (stage + 1) + 1 for stage in range(self.stages)]
        start = tuple(1.5 * DEMAND * count for count in weeks)
        return search(value, start, step=2.0 * DEMAND, finest=0.1 * DEMAND)


def metrics(state: State) -> dict[str, Array]:
    """Units in stock and owed to customers, and the share of demand that was met at once."""
    xp = array_namespace(state.stock)
    return {
        "stock": xp.sum(state.stock, axis=1),
        "backlog": state.owed[:, 0],
        "served_share": state.served / xp.where(state.demanded > 0.0, state.demanded, 1.0),
    }


_NAMES = ("shop", "wholesaler", "distributor")
_LONGEST = 50.0  # units that a bar has room for
_LEGEND = (("orange", "on the way"), ("blue", "in stock"), ("red", "owed"))


def render(state: State) -> Picture:
    """From the factory to the shop: deliveries on their way, stocks, and what stages owe."""
    stages, lead_time = state.stock.shape[1], state.pipeline.shape[1]
    canvas = Canvas(180 * stages, 340, right=float(stages), bottom=-38.0, top=70.0)
    canvas.line((0.0, 0.0), (float(stages), 0.0), "line")
    for stage in range(stages):
        x = stages - 1.0 - stage
        stock, owed = float(state.stock[0, stage]), float(state.owed[0, stage])
        canvas.rectangle((x + 0.5, 0.0), (x + 0.85, min(stock, _LONGEST)), "blue")
        canvas.rectangle((x + 0.5, 0.0), (x + 0.85, -min(owed, 25.0)), "red")
        name = _NAMES[stage] if stage < min(3, stages - 1) else "factory"
        canvas.text((x + 0.675, -33.0), name, size=15, anchor="mm")
        canvas.text((x + 0.675, min(stock, _LONGEST) + 4.0), f"{stock:.0f}", "blue", 14, "mm")
        for place in range(lead_time):
            units = float(state.pipeline[0, place, stage])
            left = x + 0.45 * (lead_time - 1 - place) / lead_time
            canvas.rectangle((left, 0.0), (left + 0.36 / lead_time, units), "orange")
    share = float(metrics(state)["served_share"][0])
    words = (
        f"week {int(state.week[0]) + 1}   {float(state.demand[0]):.0f} units asked for last week"
    )
    canvas.text((0.04, 66.0), f"{words}   {share:.0%} of demand met at once", size=15)
    for number, (colour, meaning) in enumerate(_LEGEND):
        canvas.text((0.04 + 0.6 * number, 58.0), meaning, colour, size=15)
    return canvas.picture()


USUAL = Chain(stages=4, lead_time=2, season=0.4, penalty=10.0)
LEVELS = (51.0, 81.0, 113.0, 146.0)
"""`USUAL.best_levels(episodes=2048)`, in whole units."""
RETURNS = Returns(random=-15786.0, reference=-4726.0)
"""Of USUAL, by `measure` over 16,384 episodes."""


def scenario(
    stages: int = 4, lead_time: int = 2, season: float = 0.4, penalty: float = 10.0
) -> Scenario[State]:
    """A chain of 2 to 6 `stages` with `lead_time`s of 1 to 4 weeks; demand swings by the share
    `season`, 0 to 0.8, of its average; a unit's wait for a week costs `penalty`, above 1 and up to
    100. Raises ValueError for others."""
    if stages not in range(2, 7):
        raise ValueError(f"stages must be a whole number from 2 to 6, not {stages!r}")
    if lead_time not in range(1, 5):
        raise ValueError(
            f"lead_time must be a whole number of weeks from 1 to 4, not {lead_time!r}"
        )
    if not 0.0 <= season <= 0.8:
        raise ValueError(f"season must be from 0 to 0.8, not {season!r}")
    if not TOP_HOLDING < penalty <= 100.0:
        raise ValueError(f"penalty must be above {TOP_HOLDING:g} and at most 100, not {penalty!r}")
    chain = Chain(stages, lead_time, season, penalty)
    if chain == USUAL:
        return replace(_make(chain, LEVELS), returns=RETURNS)
    return _searched(chain)


@cache
def _searched(chain: Chain) -> Scenario[State]:
    made = _make(chain, chain.best_levels(episodes=256))
    return replace(made, returns=measure(made, episodes=1024))


def _make(chain: Chain, levels: Levels = ()) -> Scenario[State]:
    stages = chain.stages
    return Scenario(
        name="supply-chain",
        observation_space=spaces.Box(
            -1.0, np.inf, (stages * (2 + chain.lead_time) + 4,), np.float32
        ),
        action_space=spaces.Box(0.0, CAPACITY, (stages,), np.float32),
        max_steps=MAX_STEPS,
        reset=chain.reset,
        step=chain.step,
        observe=chain.observe,
        reset_noise=3 + stages,
        step_noise=2,
        reference=partial(chain.base_stock, levels),
        render=render,
        metrics=metrics,
    )
