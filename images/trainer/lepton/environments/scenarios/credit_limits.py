"""Credit limits: raise, keep or cut the limit of a group of card customers, month by month.

Interest and fees against losses, after So and Thomas, "Modelling the Profitability of Credit Cards
by Markov Decision Processes" (2011), and Trench et al., "Managing Credit Lines and Prices for Bank
One Credit Cards" (2003).
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.card_customers import (
    FIRST_LIMIT,
    MAX_LIMIT,
    MIN_LIMIT,
    REPAYMENT,
    RESET_NOISE,
    STEP_NOISE,
    State,
    borrowing,
    new_customers,
    next_recession,
    next_risk,
    rolled,
)
from lepton.environments.scenarios.card_picture import render
from lepton.environments.scores import measure
from lepton.environments.search import best_by_turns

MONTHS = 60
CUT, KEEP, RAISE = 0, 1, 2
CUT_FACTOR, RAISE_FACTOR = 0.8, 1.25

INTERCHANGE = 0.003
"""Of purchases: the most for credit cards in the European Union, by Regulation (EU) 2015/751."""
FUNDING = 0.04
"""A year, of balances."""
UNDRAWN_COST = 0.01
"""A year, of limits not used: capital and liquidity to be ready for them."""
SERVICE_COST = 2.0
"""Euros a month for an open account."""
CHANGE_COST = 3.0
"""Euros for every account whose limit changes."""
CLOSURE, CUT_CLOSURE, TIGHT_CLOSURE = 0.006, 0.01, 0.006
"""Share of accounts that customers close in a month; added when their limit is cut, and when they
have used all of it."""
TIGHT_USE = 0.8
"""Share of the limit from which customers feel it."""
DRAWN = 0.8
"""Of the limit that is left, what customers draw on their way to default."""
UNDRAWING = 0.15
"""Of a cut, what it takes off a month from what late customers could draw: some have done so."""

CHOICES = (
    (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 1.0),
    (0.0, 0.5, 1.0, 1.5, 2.0, 99.0),
    (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 1.0),
    (0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9),
    (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 99.0),
)
"""What the search for the reference tries for each of a rule's numbers."""
RULE = (0.1, 1.0, 0.05, 0.65, 0.5)
RETURNS = Returns(random=-193.8, reference=112.9)
"""What the search and 16,384 groups give for the default lender."""


@dataclass(frozen=True)
class Lender:
    """The scenario's functions for one lender."""

    interest: float
    loss_given_default: float

    def reset(self, n: int, noise: Array) -> State:
        """Accounts opened today."""
        return new_customers(noise)

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Set the limit, and live through a month."""
        xp = array_namespace(noise)
        nothing, year = xp.zeros_like(state.limit), 1.0 / 12.0
        limit = _new_limit(state.limit, action)
        changed = xp.astype(limit != state.limit, xp.float32)
        cut = xp.astype(limit < state.limit, xp.float32)
        slack = limit - state.committed
        committed = state.committed + xp.where(slack > 0.0, slack, UNDRAWING * slack)

        late_1, late_2, late_3, default = rolled(state)
        left = committed - state.balance
        exposure = state.balance + DRAWN * xp.where(left > 0.0, left, nothing)
        loss = default * (self.loss_given_default * exposure)

        change = borrowing(state.balance, state.need, limit)
        balance = state.balance + change
        full = state.full_payers
        purchases = change + (REPAYMENT + (1.0 - REPAYMENT) * full) * state.balance
        current = 1.0 - late_1 - late_2 - late_3 - default
        interest = self.interest * (1.0 - full) * current
        undrawn = xp.where(limit > balance, limit - balance, nothing)
        result = (
            state.balance * ((interest - FUNDING) * year)
            + INTERCHANGE * purchases
            - (UNDRAWN_COST * year) * undrawn
            - CHANGE_COST * changed
            - SERVICE_COST
            - loss
        )
        profit = state.open * result

        used = state.balance / limit
        tight = (used - TIGHT_USE) * (1.0 / (1.0 - TIGHT_USE))
        tight = xp.where(tight < 1.0, xp.where(tight > 0.0, tight, nothing), nothing + 1.0)
        staying = 1.0 - default - CLOSURE - TIGHT_CLOSURE * tight - CUT_CLOSURE * cut
        shock, _ = normal_pair(noise[:, 0], noise[:, 1])
        of_open = 1.0 / (1.0 - default)
        after = State(
            limit=limit,
            committed=committed,
            balance=balance,
            late_1=late_1 * of_open,
            late_2=late_2 * of_open,
            late_3=late_3 * of_open,
            risk=next_risk(state, used, shock),
            recession=next_recession(state.recession, noise[:, 2]),
            full_payers=full,
            need=state.need,
            own_risk=state.own_risk,
            open=state.open * staying,
            profit=state.profit + profit,
        )
        return after, profit, xp.zeros_like(action, dtype=xp.bool)


DEFAULT = Lender(interest=0.2, loss_given_default=0.8)


def _new_limit(limit: Array, action: Array) -> Array:
    """Between MIN_LIMIT and MAX_LIMIT."""
    xp = array_namespace(limit)
    raised, cut = limit * RAISE_FACTOR, limit * CUT_FACTOR
    raised = xp.where(raised < MAX_LIMIT, raised, xp.full_like(limit, MAX_LIMIT))
    cut = xp.where(cut > MIN_LIMIT, cut, xp.full_like(limit, MIN_LIMIT))
    return xp.where(action == RAISE, raised, xp.where(action == CUT, cut, limit))


def observe(state: State) -> Array:
    """What the lender sees, (n, 9)."""
    xp = array_namespace(state.limit)
    parts = (
        xp.log(state.limit / FIRST_LIMIT),
        state.balance / state.limit,
        state.committed / state.limit - 1.0,
        10.0 * state.late_1,
        20.0 * state.late_2,
        20.0 * state.late_3,
        state.risk,
        state.recession,
        state.full_payers,
    )
    return xp.stack(parts, axis=1)


def static_rule(state: State, numbers: Array) -> Array:
    """The same thresholds for every group, limit and month. `numbers`, (5,) or (n, 5): the share of
    late customers and the risk from which a limit is cut; the share of late customers below which,
    the use of the limit from which, and the risk below which it is raised."""
    xp = array_namespace(state.limit)
    late = state.late_1 + state.late_2 + state.late_3
    used = state.balance / state.limit
    cut = (late >= numbers[..., 0]) | (state.risk >= numbers[..., 1])
    good = (late < numbers[..., 2]) & (state.risk < numbers[..., 4])
    raised = good & (used >= numbers[..., 3]) & ~cut
    # CUT, KEEP and RAISE are 0, 1 and 2.
    return KEEP + xp.astype(raised, xp.int64) - xp.astype(cut, xp.int64)


def metrics(state: State) -> dict[str, Array]:
    """Euros: the limit, and profit so far for an account opened; share of accounts still open, and
    of these that are late."""
    return {
        "limit": state.limit,
        "profit": state.profit,
        "open": state.open,
        "late": state.late_1 + state.late_2 + state.late_3,
    }


def scenario(
    months: int = MONTHS,
    interest: float = DEFAULT.interest,
    loss_given_default: float = DEFAULT.loss_given_default,
) -> Scenario[State]:
    """months: length of an episode.
    interest: on balances that are not paid in full, a year.
    loss_given_default: share of what a customer owes at default that is lost.
    """
    if not isinstance(months, int) or not 12 <= months <= 240:
        raise ValueError(f"months is a whole number from 12 to 240, not {months}")
    for name, value in (("interest", interest), ("loss_given_default", loss_given_default)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a share between 0 and 1, not {value}")
    return _scenario(months, float(interest), float(loss_given_default))


@lru_cache(maxsize=16)
def _scenario(months: int, interest: float, loss_given_default: float) -> Scenario[State]:
    functions = Lender(interest, loss_given_default)
    made: Scenario[State] = Scenario(
        name="credit-limits",
        observation_space=spaces.Box(-20.0, 20.0, (9,), np.float32),
        action_space=spaces.Discrete(3),
        max_steps=months,
        reset=functions.reset,
        step=functions.step,
        observe=observe,
        reset_noise=RESET_NOISE,
        step_noise=STEP_NOISE,
        reference=partial(_reference, numbers=RULE),
        returns=RETURNS,
        render=render,
        metrics=metrics,
    )
    if functions == DEFAULT and months == MONTHS:
        return made
    numbers = best_by_turns(made, static_rule, CHOICES, RULE)
    made = replace(made, reference=partial(_reference, numbers=numbers))
    return replace(made, returns=measure(made, 1024))


def _reference(state: State, numbers: tuple[float, ...]) -> Array:
    xp = array_namespace(state.limit)
    ones = xp.ones_like(state.limit)
    return static_rule(state, xp.stack([number * ones for number in numbers], axis=1))
