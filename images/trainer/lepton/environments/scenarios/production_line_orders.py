"""Orders of `production_line`: what they need, and how the shop keeps them in slots and lines.

Arrays here end in the batch's axis, (..., n), where states begin with it: so each of the many small
operations of an hour runs over adjacent numbers. Choices are made by multiplying with 0 and 1,
which takes a fraction of the time of `where`.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from lepton.environments.arrays import constant, integers
from lepton.environments.scenario import Array

Table = tuple[tuple[float, ...], ...]

ROUTES = ((0, 1, 2), (1, 3, 0), (3, 2, 1), (2, 0, 3))
"""Machines that the orders of each family visit, one after another."""
UNIT_HOURS: Table = ((0.75, 1.0, 0.5), (0.5, 1.0, 1.0), (0.5, 0.75, 1.0), (1.25, 0.75, 1.0))
"""Of each operation, by family and stage, for each unit of the order."""
PENALTIES = (1.0, 2.0, 3.0, 4.0)
"""Money for each hour that an order of the family is late."""
FAMILIES, STAGES, MACHINES = 4, 3, 4
CHOICES = 3
"""Families that come to each machine."""
SLOTS = 6
"""Orders of a family that the shop has room for."""
FEWEST_UNITS, MOST_UNITS = 2, 6
MEAN_UNITS = 0.5 * (FEWEST_UNITS + MOST_UNITS)

LINES = tuple(
    tuple((f, ROUTES[f].index(machine)) for f in range(FAMILIES) if machine in ROUTES[f])
    for machine in range(MACHINES)
)
"""The lines of orders in front of each machine: (family, stage) of each."""
HOURS_AFTER: Table = tuple(
    tuple(sum(hours[stage + 1 :]) for stage in range(STAGES)) for hours in UNIT_HOURS
)
"""Of all operations that follow one, for each unit."""
NEXT_HOURS: Table = tuple((*hours[1:], 0.0) for hours in UNIT_HOURS)
"""Of the operation that follows one, for each unit."""
_TO_MACHINES = tuple(stage * FAMILIES + family for lines in LINES for family, stage in lines)
_TO_STAGES = tuple(_TO_MACHINES.index(place) for place in range(STAGES * FAMILIES))


class Slots(NamedTuple):
    """The orders of each family, (F, Q, n): the earliest due first and empty slots last."""

    due: Array  # the hour when an order is
    came: Array  # the hour when it did
    units: Array
    stage: Array  # 0 to 2
    left: Array  # hours of the operation at that stage


NEVER = 1e4
EMPTY = Slots(due=NEVER, came=0.0, units=0.0, stage=float(STAGES), left=0.0)
"""What slots hold that have no order."""


def units_of(u: Array) -> Array:
    """Sizes of orders from uniform numbers."""
    return FEWEST_UNITS + array_namespace(u).floor((MOST_UNITS - FEWEST_UNITS + 1) * u)


def in_lines(stage: Array) -> Array:
    """Which slots (F, Q, n) are in which line, (stage, F, Q, n)."""
    return array_namespace(stage).stack([stage == s for s in range(STAGES)], axis=0)


def firsts(lines: Array) -> Array:
    """The first slot of each line, as float32 1 among 0; (stage, F, Q, n)."""
    xp = array_namespace(lines)
    seen = lines[:, :, 0]
    first = [seen]
    for slot in range(1, SLOTS):
        first.append(lines[:, :, slot] & ~seen)
        seen = seen | lines[:, :, slot]
    return xp.astype(xp.stack(first, axis=2), xp.float32)


def of_heads(first: Array, values: Array) -> Array:
    """Values (F, Q, n) of the first order of each line, (M, 3, n); 0 where nothing waits."""
    return by_machine(array_namespace(first).sum(first * values, axis=2))


def of_stages(table: Table, lines: Array) -> Array:
    """Values by family and stage of what is in the slots, (F, Q, n); 0 in empty ones. `lines` is
    float32."""
    values = [[[[row[stage]]] for row in table] for stage in range(STAGES)]
    return array_namespace(lines).sum(lines * constant(lines, values), axis=0)


def by_machine(lines: Array) -> Array:
    """(stage, F, n) as (M, 3, n)."""
    return _rearranged(lines, _TO_MACHINES, (MACHINES, CHOICES))


def by_stage(lines: Array) -> Array:
    """(M, 3, n) as (stage, F, n)."""
    return _rearranged(lines, _TO_STAGES, (STAGES, FAMILIES))


def closed_up(slots: Slots, gone: Array) -> Slots:
    """Without what is `gone` (F, Q, n), bool, at most one order of each family."""
    xp = array_namespace(gone)
    parts = [gone[:, 0]]
    for slot in range(1, SLOTS):
        parts.append(parts[-1] | gone[:, slot])
    moved = xp.astype(xp.stack(parts, axis=1), xp.float32)
    kept = 1.0 - moved

    def close(values: Array, empty: float) -> Array:
        last = xp.full_like(values[:, :1], empty)
        return values * kept + xp.concat([values[:, 1:], last], axis=1) * moved

    return Slots(*(close(*both) for both in zip(slots, EMPTY, strict=True)))


def inserted(slots: Slots, orders: Slots, coming: Array) -> Slots:
    """With one more order of the families where `coming` (F, n), from `orders` (F, n)."""
    xp = array_namespace(coming)
    before = (slots.due <= orders.due[:, None]) | ~coming[:, None]
    kept = xp.astype(before, xp.float32)
    up_to = xp.concat([xp.ones_like(kept[:, :1]), kept[:, :-1]], axis=1)
    here, moved = up_to - kept, 1.0 - up_to

    def insert(values: Array, new: Array) -> Array:
        previous = xp.concat([values[:, :1], values[:, :-1]], axis=1)
        return values * kept + new[:, None] * here + previous * moved

    return Slots(*(insert(*both) for both in zip(slots, orders, strict=True)))


def _rearranged(lines: Array, places: tuple[int, ...], shape: tuple[int, int]) -> Array:
    xp, n = array_namespace(lines), lines.shape[-1]
    flat = xp.reshape(lines, (STAGES * FAMILIES, n))
    return xp.reshape(xp.take(flat, integers(flat, places), axis=0), (*shape, n))
