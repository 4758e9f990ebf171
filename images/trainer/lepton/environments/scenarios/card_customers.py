"""Card customers for the credit-limits scenario: the state of a group, and how it pays and borrows.

Payments follow a roll-rate model, after Cyert, Davidson and Thompson, "Estimation of the Allowance
for Doubtful Accounts by Markov Chains" (1962): shares of a group move from month to month between
being current and being one, two or three payments late.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array

RESET_NOISE = 6
STEP_NOISE = 3

FIRST_LIMIT, MIN_LIMIT, MAX_LIMIT = 1000.0, 500.0, 8000.0
"""Euros; the first is that of accounts opened today."""
NEED_MEDIAN, NEED_SPREAD = 2000.0, 0.5
"""Euros of debt that a group wants at any limit, and the standard deviation of its logarithm."""
LIMIT_SHARE = 0.13
"""Of a euro of limit, what becomes debt although the need was met."""
ADJUSTMENT = 0.25
"""Of the distance to the debt they want, what customers cover in a month."""
REPAYMENT = 0.05
"""Of a balance, the least that is paid in a month, and the most that it falls by."""
MOST_FULL_PAYERS = 0.95
"""Customers who pay all of their balance every month are up to this share of a group."""

RISK_SPREAD, FIRST_RISK_SPREAD = 0.8, 0.4
"""Standard deviations of groups' own risk, and of what they are away from it at first."""
PERSISTENCE = 0.95
"""Of a group's distance to the risk that it tends to, from month to month."""
SHOCK = 0.1
"""Standard deviation of a month's change of risk."""
RECESSION_RISK, FULL_CARD_RISK = 1.5, 1.0
"""What recession, and a card used to the limit instead of not at all, add to the risk that a group
tends to."""
USUAL_USE = 0.7
"""Share of the limit that leaves a group at its own risk."""
MOST_USE = 1.2
"""Being further above the limit than this adds no risk."""
RECESSION_BEGINS, RECESSION_ENDS = 1 / 58, 1 / 11
"""Chances in a month."""

MISS, MISS_RISK, MISS_RECESSION = -3.6, 1.0, 0.8
"""Logarithmic odds that a current customer misses a payment: without risk, and what a unit of risk
and a recession add."""
ROLL, LATE_ROLL, ROLL_RISK, ROLL_RECESSION = -0.8, 0.0, 0.5, 0.4
"""The same for missing the second payment in a row, and for the third and fourth."""


class State(NamedTuple):
    """A group of customers, of each of whom the same is known; each of shape (n,). Amounts are
    euros for an open account, shares are of open accounts."""

    limit: Array
    committed: Array  # limit that late customers could draw on; it follows cuts slowly
    balance: Array
    late_1: Array  # share with one payment missed
    late_2: Array
    late_3: Array
    risk: Array  # behavioural score, in standard deviations, high is bad
    recession: Array  # 1 in one, 0 otherwise
    full_payers: Array  # share that pays all of it every month
    need: Array  # debt wanted at any limit, hidden
    own_risk: Array  # that the group tends to, hidden
    open: Array  # share of the accounts at the beginning
    profit: Array  # euros so far, for an account at the beginning


def new_customers(noise: Array) -> State:
    """Accounts opened today by groups drawn at random."""
    xp = array_namespace(noise)
    own, need = normal_pair(noise[:, 0], noise[:, 1])
    first, _ = normal_pair(noise[:, 2], noise[:, 3])
    nothing, limit = xp.zeros_like(own), xp.full_like(own, FIRST_LIMIT)
    in_recession = RECESSION_BEGINS / (RECESSION_BEGINS + RECESSION_ENDS)
    return State(
        limit=limit,
        committed=limit,
        balance=nothing,
        late_1=nothing,
        late_2=nothing,
        late_3=nothing,
        risk=RISK_SPREAD * own + FIRST_RISK_SPREAD * first,
        recession=xp.astype(noise[:, 4] < in_recession, xp.float32),
        full_payers=MOST_FULL_PAYERS * noise[:, 5],
        need=NEED_MEDIAN * xp.exp(NEED_SPREAD * need),
        own_risk=RISK_SPREAD * own,
        open=xp.ones_like(own),
        profit=nothing,
    )


def rolled(state: State) -> tuple[Array, Array, Array, Array]:
    """A month's payments: shares that are one, two and three payments late after it, and the
    share that defaults with its fourth, more than 90 days past due."""
    missing = _probability(MISS + MISS_RISK * state.risk + MISS_RECESSION * state.recession)
    pull = ROLL_RISK * state.risk + ROLL_RECESSION * state.recession
    roll, late_roll = _probability(ROLL + pull), _probability(LATE_ROLL + pull)
    current = 1.0 - state.late_1 - state.late_2 - state.late_3
    return (
        current * missing,
        state.late_1 * roll,
        state.late_2 * late_roll,
        state.late_3 * late_roll,
    )


def borrowing(balance: Array, need: Array, limit: Array) -> Array:
    """What balances change by in a month, towards the debt that customers want and may have."""
    xp = array_namespace(balance)
    wanted = need + LIMIT_SHARE * limit
    change = ADJUSTMENT * (xp.where(wanted < limit, wanted, limit) - balance)
    least = -REPAYMENT * balance
    return xp.where(change < least, least, change)


def next_risk(state: State, used: Array, shock: Array) -> Array:
    """The risk a month later; `used` is the share of the limit, `shock` standard normal."""
    xp = array_namespace(used)
    use = xp.where(used < MOST_USE, used, xp.full_like(used, MOST_USE)) - USUAL_USE
    level = state.own_risk + RECESSION_RISK * state.recession + FULL_CARD_RISK * use
    return PERSISTENCE * state.risk + (1.0 - PERSISTENCE) * level + SHOCK * shock


def next_recession(recession: Array, number: Array) -> Array:
    """Whether the next month is one of recession, by a uniform number."""
    xp = array_namespace(recession)
    goes_on = xp.astype(number >= RECESSION_ENDS, xp.float32)
    begins = xp.astype(number < RECESSION_BEGINS, xp.float32)
    return xp.where(recession > 0.5, goes_on, begins)


def _probability(logarithmic_odds: Array) -> Array:
    xp = array_namespace(logarithmic_odds)
    return 1.0 / (1.0 + xp.exp(-logarithmic_odds))
