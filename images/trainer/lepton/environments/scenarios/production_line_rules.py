"""Dispatching rules for `production_line`, of which the best is its reference.

A rule gives the first order of each line a number, and a machine turns to the highest. The rules
are those that Vepsäläinen and Morton, "Priority Rules for Job Shops with Weighted Tardiness Costs"
(Management Science 33, 1987), and Kutanoglu and Sabuncuoglu, "An Analysis of Heuristics in a
Dynamic Job Shop with Weighted Tardiness Objectives" (International Journal of Production Research
37, 1999), compare, for operations that may be put aside: what counts is the rest of an operation.
"""

from collections.abc import Callable
from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.arrays import constant, integers, inwards, outwards
from lepton.environments.scenario import Array, Scenario
from lepton.environments.scenarios.production_line_orders import (
    CHOICES,
    FAMILIES,
    LINES,
    MEAN_UNITS,
    PENALTIES,
    STAGES,
    UNIT_HOURS,
)
from lepton.environments.scenarios.production_line_shop import State, ages, heads
from lepton.environments.search import best_by_turns

MEAN_HOURS = MEAN_UNITS * sum(map(sum, UNIT_HOURS)) / (FAMILIES * STAGES)
"""Of an operation."""
_SHORTEST = 0.25  # hours; the rest of an operation counts as no less, since it is divided by


class Facts(NamedTuple):
    """What rules look at, of the first order of each line, (M, 3, n)."""

    penalty: Array  # money for an hour late
    due: Array  # hours until then
    age: Array  # hours since it came
    left: Array  # hours of this operation
    after: Array  # hours of the operations that follow
    operations: Array  # how many there are from this one on
    change: Array  # 1 if the machine has to change over for it

    @property
    def work(self) -> Array:
        """Hours of this operation and those that follow."""
        return self.left + self.after

    @property
    def slack(self) -> Array:
        """Hours that the order can wait and yet be in time."""
        return self.due - self.work


Priority = Callable[[Facts], Array]

RULES: dict[str, Priority] = {
    "FIFO": lambda f: f.age,
    "SPT": lambda f: -f.left,
    "WSPT": lambda f: f.penalty / f.left,
    "LWKR": lambda f: -f.work,
    "EDD": lambda f: -f.due,
    "MDD": lambda f: -_larger(f.due, f.work),
    "ODD": lambda f: -(f.due - 2.0 * f.after),
    "MOD": lambda f: -_larger(f.due - 2.0 * f.after, f.left),
    "slack": lambda f: -f.slack,
    "S/OPN": lambda f: -f.slack / f.operations,
    "CR": lambda f: -f.due / f.work,
}
"""Rules without parameters: first in the shop, first out; shortest operation, by itself and over
its penalty; least work remaining; earliest due date, modified by what is late anyhow; the same of
operations, which allows twice their hours for those that follow; least slack, by itself and by
operation; critical ratio."""


def covert(facts: Facts, ample: Array) -> Array:
    """Cost over time (Carroll 1965): what an hour late costs, less the more slack there is, for
    each hour of this operation. Slack is ample at `ample` times the hours of work that remain."""
    xp = array_namespace(facts.due)
    share = 1.0 - xp.clip(facts.slack, min=0.0) / (ample * facts.work)
    # Among orders with ample slack, the least.
    return facts.penalty / facts.left * xp.clip(share, min=0.0) - 1e-5 * facts.slack


def atc(facts: Facts, look_ahead: Array, lead: Array, reluctance: Array) -> Array:
    """Apparent tardiness cost (Vepsäläinen and Morton 1987) with a term for changeovers (Lee,
    Bhaskaran and Pinedo, "A Heuristic to Minimize the Total Weighted Tardiness with
    Sequence-Dependent Setups", IIE Transactions 29, 1997).

    An order's slack, which leaves `lead` times the hours of later operations for waiting there, is
    judged by `look_ahead` mean operations. A line that the machine is set up for counts as
    exp(`reluctance`) times as urgent as others.
    """
    xp = array_namespace(facts.due)
    slack = xp.clip(facts.slack - lead * facts.after, min=0.0)
    exponent = slack / (look_ahead * MEAN_HOURS) + reluctance * facts.change
    return facts.penalty / facts.left * xp.exp(-exponent)


def dispatch(state: State, priority: Priority) -> Array:
    """The line with the highest priority for each machine, (n, M)."""
    xp = array_namespace(state.due)
    first = heads(state)
    like = first.due
    setting = inwards(state.setting)
    number = integers(setting, [[[k] for k in range(CHOICES)]])
    facts = Facts(
        constant(like, [[[PENALTIES[f]] for f, _ in lines] for lines in LINES]),
        first.due,
        ages(state),
        xp.clip(first.left, min=_SHORTEST),
        first.after,
        constant(like, [[[float(STAGES - s)] for _, s in lines] for lines in LINES]),
        xp.astype(setting[:, None] != number, xp.float32),
    )
    priorities = xp.where(first.waiting > 0.0, priority(facts), -xp.inf)
    return outwards(xp.argmax(priorities, axis=1))


def staying(priority: Priority) -> Priority:
    """The same rule for a machine that changes over only when no order of its family waits."""
    return lambda facts: priority(facts) - 1e6 * facts.change


Parameters = tuple[float, ...]
CHOICES_OF_ATC = (
    (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0),
    (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0),
    (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2),
)
"""What the search tries for look-ahead, lead and reluctance."""


def by_atc(state: State, parameters: Array) -> Array:
    """What `atc` chooses with parameters of each row (n, 3)."""
    return dispatch(state, lambda f: atc(f, *(parameters[:, i] for i in range(3))))


def reference(state: State, parameters: Parameters) -> Array:
    """What `atc` chooses with the same parameters for all."""
    return by_atc(state, constant(state.due, [parameters]))


def best_atc(scenario: Scenario[State], episodes: int) -> Parameters:
    """Parameters of `atc` of which none earns more by itself with another of the values tried."""
    return best_by_turns(scenario, by_atc, CHOICES_OF_ATC, (2.0, 0.5, 0.6), episodes)


def _larger(a: Array, b: Array) -> Array:
    return array_namespace(a).maximum(a, b)
