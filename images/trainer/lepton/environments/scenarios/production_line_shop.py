"""The job shop of `production_line`: what happens in an hour, and what is known of its lines."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.arrays import constant, integers, inwards, outwards
from lepton.environments.scenario import Array
from lepton.environments.scenarios.production_line_orders import (
    CHOICES,
    EMPTY,
    FAMILIES,
    HOURS_AFTER,
    LINES,
    MACHINES,
    MEAN_UNITS,
    NEVER,
    NEXT_HOURS,
    PENALTIES,
    SLOTS,
    STAGES,
    UNIT_HOURS,
    Slots,
    by_machine,
    by_stage,
    closed_up,
    firsts,
    in_lines,
    inserted,
    of_heads,
    of_stages,
    units_of,
)

REPAIR_HOURS = 3.0
"""Mean."""
TURNED_AWAY = 24.0
"""An order that the shop has no room for costs as much as one that is so many hours late."""
FIRST_ORDERS = 3
"""Of each family, at most, when an episode begins."""
RESET_NOISE = FAMILIES * (1 + 3 * FIRST_ORDERS) + MACHINES
STEP_NOISE = 3 + MACHINES
_DONE = 1e-3
"""Hours of an operation that may be left, by rounding, when it is done."""


class State(NamedTuple):
    """F families with Q slots each, as in `Slots`; M machines."""

    due: Array  # the hour when an order is, 10,000 in an empty slot, (n, F, Q)
    came: Array  # the hour when it did, (n, F, Q)
    units: Array  # (n, F, Q)
    stage: Array  # 0 to 2, 3 in an empty slot, (n, F, Q)
    left: Array  # hours of the operation at that stage, (n, F, Q)
    hour: Array  # since the episode began, (n,)
    setting: Array  # which of its families a machine is set up for, int64, (n, M)
    ahead: Array  # hours that a machine had over in the past one, (n, M)
    up: Array  # whether a machine works, (n, M)
    done: Array  # orders finished since the episode began, (n,)
    late: Array  # of those, after they were due, (n,)
    lost: Array  # orders turned away since the episode began, (n,)


class Heads(NamedTuple):
    """The order that is due first in each line, (M, 3, n); all 0 where nothing waits."""

    waiting: Array  # 1 where there is one
    due: Array  # hours until then
    left: Array  # hours of the operation at this machine
    after: Array  # hours of the operations that follow it
    count: Array  # orders in the line


@dataclass(frozen=True)
class Shop:
    """n is the batch's size."""

    load: float
    tightness: float
    uptime: float  # hours until a machine breaks, on average
    changeover: float  # hours

    @cached_property
    def arrivals(self) -> float:
        """Chance that an order comes in an hour, with which the busiest machine has work for the
        share `load` of the hours when it is up."""
        hours = [sum(UNIT_HOURS[f][stage] for f, stage in lines) for lines in LINES]
        available = self.uptime / (self.uptime + REPAIR_HOURS)
        return self.load * available * FAMILIES / (max(hours) * MEAN_UNITS)

    def reset(self, n: int, noise: Array) -> State:
        """Up to three orders of each family, at any stage; all machines are up."""
        xp = array_namespace(noise)
        u = inwards(noise)
        drawn = xp.reshape(u[MACHINES:], (FAMILIES, 1 + 3 * FIRST_ORDERS, n))
        gaps, sizes, stages = (drawn[:, i::3][:, :FIRST_ORDERS] for i in (1, 2, 3))
        numbers = constant(noise, [[[float(i)] for i in range(FIRST_ORDERS)]])
        present = numbers < xp.floor((FIRST_ORDERS + 1) * drawn[:, :1])
        stage = xp.where(present, xp.floor(STAGES * stages), EMPTY.stage)
        lines = xp.astype(in_lines(stage), xp.float32)
        units = xp.where(present, units_of(sizes), EMPTY.units)
        due = xp.where(present, xp.cumulative_sum(4.0 + 20.0 * gaps, axis=1), EMPTY.due)
        left = units * of_stages(UNIT_HOURS, lines)
        orders = Slots(due, xp.zeros_like(due), units, stage, left)
        free = [xp.full_like(due[:, :1], v) for v in EMPTY]
        slots = [
            xp.concat([values] + [empty] * (SLOTS - FIRST_ORDERS), axis=1)
            for values, empty in zip(orders, free, strict=True)
        ]
        none = xp.zeros_like(u[0])
        return State(
            **_outside(Slots(*slots)),
            hour=none,
            setting=outwards(xp.astype(xp.floor(CHOICES * u[:MACHINES]), xp.int64)),
            ahead=outwards(xp.zeros_like(u[:MACHINES])),
            up=outwards(u[:MACHINES] >= 0.0),
            done=none,
            late=none,
            lost=none,
        )

    def step(self, state: State, action: Array, noise: Array) -> tuple[State, Array, Array]:
        """Each machine that is up works for an hour on the first order of the line `action`
        (n, M), or, where nothing waits in that, on the order that is due first. The reward is minus
        what lateness became certain in the hour, and orders turned away, cost."""
        xp = array_namespace(noise)
        u, hour = inwards(noise), state.hour
        slots, up = _slots(state), inwards(state.up)
        present = in_lines(slots.stage)
        first = firsts(present)
        lines = xp.astype(present, xp.float32)
        setting = inwards(state.setting)

        turned_to = _available(inwards(action), of_heads(first, slots.due)) & up[:, None]
        choice = _numbered(turned_to)
        busy = turned_to[:, 0] | turned_to[:, 1] | turned_to[:, 2]
        changed = xp.astype(choice != setting, xp.float32)
        hours = xp.astype(busy, xp.float32) * (
            1.0 + inwards(state.ahead) - self.changeover * changed
        )
        spent = xp.minimum(
            of_heads(first, slots.left), xp.astype(turned_to, xp.float32) * hours[:, None]
        )
        ahead = xp.clip(hours - xp.sum(spent, axis=1), max=1.0)
        spent = xp.sum(first * by_stage(spent)[:, :, None], axis=0)

        slack = slots.due - hour - slots.left - slots.units * of_stages(HOURS_AFTER, lines)
        later = _lateness(slack - 1.0 + spent) - _lateness(slack)
        penalties = constant(noise, [[p] for p in PENALTIES])
        cost = xp.sum(penalties * xp.sum(later, axis=1), axis=0)

        left = slots.left - spent
        operated = (spent > 0.0) & (left < _DONE)
        advance = xp.astype(operated, xp.float32)
        slots = slots._replace(
            left=left * (1.0 - advance) + slots.units * of_stages(NEXT_HOURS, lines) * advance,
            stage=slots.stage + advance,
        )
        gone = operated & (slots.stage == EMPTY.stage)
        overdue = gone & (slots.due < hour + 1.0)
        slots = closed_up(slots, gone)

        coming = self._coming(u[0])
        full = slots.due[:, -1] < NEVER
        slots = inserted(slots, self._orders(hour + 1.0, u[1], u[2]), coming & ~full)
        lost = xp.astype(coming & full, xp.float32)
        cost = cost + TURNED_AWAY * xp.sum(penalties * lost, axis=0)

        breaks, mended = u[3:] < 1.0 / self.uptime, u[3:] < 1.0 / REPAIR_HOURS
        after = State(
            **_outside(slots),
            hour=hour + 1.0,
            setting=outwards(xp.where(busy, choice, setting)),
            ahead=outwards(ahead),
            up=outwards((up & ~breaks) | (~up & mended)),
            done=state.done + _count(gone),
            late=state.late + _count(overdue),
            lost=state.lost + xp.sum(lost, axis=0),
        )
        return after, -cost, xp.zeros_like(cost, dtype=xp.bool)

    def _coming(self, u: Array) -> Array:
        """Of which family an order comes, if of any, (F, n)."""
        family = u * (FAMILIES / self.arrivals)
        number = constant(u, [[float(f)] for f in range(FAMILIES)])
        return (family >= number) & (family < number + 1.0)

    def _orders(self, hour: Array, size: Array, allowance: Array) -> Slots:
        """What an order of each family would be, (F, n). Its due date leaves it between the hours
        of its work and 2 `tightness` - 1 times as many."""
        xp = array_namespace(hour)
        units = units_of(size)
        work = units * constant(hour, [[sum(hours)] for hours in UNIT_HOURS])
        none = xp.zeros_like(work)
        return Slots(
            due=hour + work * (1.0 + 2.0 * (self.tightness - 1.0) * allowance),
            came=none + hour,
            units=none + units,
            stage=none,
            left=units * constant(hour, [[hours[0]] for hours in UNIT_HOURS]),
        )


def heads(state: State) -> Heads:
    """What is known of the orders that machines may turn to."""
    xp = array_namespace(state.due)
    slots = _slots(state)
    present = in_lines(slots.stage)
    first = firsts(present)
    waiting = by_machine(xp.sum(first, axis=2))
    after = constant(slots.due, [[[HOURS_AFTER[f][s]] for f, s in lines] for lines in LINES])
    return Heads(
        waiting,
        of_heads(first, slots.due) - state.hour * waiting,
        of_heads(first, slots.left),
        of_heads(first, slots.units) * after,
        by_machine(xp.sum(xp.astype(present, xp.float32), axis=2)),
    )


def ages(state: State) -> Array:
    """Hours since the order came that is due first in each line, (M, 3, n)."""
    slots = _slots(state)
    first = firsts(in_lines(slots.stage))
    return of_heads(first, state.hour - slots.came)


def _slots(state: State) -> Slots:
    return Slots(*(inwards(values) for values in state[: len(Slots._fields)]))


def _outside(slots: Slots) -> dict[str, Array]:
    """What a state has of them."""
    return {name: outwards(values) for name, values in slots._asdict().items()}


def _available(action: Array, due: Array) -> Array:
    """Which line each machine turns to, bool (M, 3, n): the chosen one, or if nothing waits in it
    the one whose first order is due first, by the hours when they are (M, 3, n), 0 for none."""
    xp = array_namespace(due)
    number = integers(action, [[[k] for k in range(CHOICES)]])
    waiting = due > 0.0
    chosen = xp.astype(waiting & (action[:, None] == number), xp.float32)
    rank = due + NEVER * xp.astype(~waiting, xp.float32) - NEVER * chosen
    first = (rank[:, 0] <= rank[:, 1]) & (rank[:, 0] <= rank[:, 2])
    second = ~first & (rank[:, 1] <= rank[:, 2])
    return waiting & xp.stack([first, second, ~first & ~second], axis=1)


def _numbered(lines: Array) -> Array:
    """The numbers of what is true, (M, n), int64; 0 where nothing is."""
    xp = array_namespace(lines)
    return xp.astype(lines[:, 1], xp.int64) + 2 * xp.astype(lines[:, 2], xp.int64)


def _lateness(slack: Array) -> Array:
    return array_namespace(slack).clip(-slack, min=0.0)


def _count(marks: Array) -> Array:
    """How many of (F, Q, n) are true, (n,)."""
    xp = array_namespace(marks)
    return xp.sum(xp.astype(marks, xp.float32), axis=(0, 1))
