"""The other side of the comparison: lives without a fault, and what a fault may change in them."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from campaign.lives import LIVES, Outcome, live
from campaign.recorder import Json
from campaign.scene import Cluster, Scene, scene

T = TypeVar("T")

AT_ONCE = 4
"""Scenes side by side: an operator that starts takes seconds of a core."""


class Baselines:
    """Outcomes of lives without a fault."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._known: dict[str, Outcome] = {}

    async def of(self, *names: str) -> None:
        """Live these lives now, side by side, unless it was done already."""
        await side_by_side(
            [partial(self._live, name) for name in sorted({*names} - {*self._known})]
        )

    async def _live(self, name: str) -> None:
        async with scene(self._cluster, self._folder) as here:
            outcome = await live(here, LIVES[name])
        assert not outcome.forbidden, f"{name}, without a fault: {outcome.forbidden}"
        assert not outcome.writes.in_vain + outcome.writes.idle, outcome.writes
        self._known[name] = outcome

    def compare(
        self,
        name: str,
        outcome: Outcome,
        here: Scene,
        *,
        crashes: int = 0,
        lives: int = 1,
        edits: int = 0,
        told: bool = False,
        trim: Callable[[Json], Json] = lambda end: end,
    ) -> None:
        """Raises AssertionError where an outcome differs in what a fault must not change.

        `crashes` is how often the operator was killed, `lives` of how many training jobs the
        writes are, `edits` how often a user gave reason for one more; `told` is whether no event
        may be missing; `trim` leaves out of both ends what the fault has destroyed the evidence of.
        """
        clean = self._known[name]
        assert not outcome.forbidden, outcome.forbidden
        assert trim(outcome.end) == trim(clean.end), name
        allowed = Counter({kind: lives * count for kind, count in clean.writes.needed.items()})
        # What the jobs of a namespace share goes with the last one, and is made anew for the next.
        allowed["delete services"] += lives - 1
        more = outcome.writes.needed - allowed
        if told:
            assert outcome.writes.told == clean.writes.told, name
        # What took effect unheard is done again where that does no harm.
        unheard = sum(e.struck and e.took_effect and e.told is None for e in here.exchanges)
        assert more.total() <= edits + unheard, (
            f"{name} cost more than without a fault: {more}\n"
            f"status: {outcome.writes.steps}\nwithout: {clean.writes.steps}"
        )
        faults = sum(e.struck for e in here.exchanges) + crashes
        vain = outcome.writes.in_vain + outcome.writes.idle
        assert vain <= clean.writes.in_vain + faults, f"{outcome.writes} with {faults} faults"


async def side_by_side(
    what: Iterable[Callable[[], Awaitable[T]]], at_once: int = AT_ONCE
) -> list[T]:
    """Do all, so many at once; raises the first error once all are done."""
    slots = asyncio.Semaphore(at_once)

    async def one(make: Callable[[], Awaitable[T]]) -> T:
        async with slots:
            return await make()

    done = await asyncio.gather(*(one(make) for make in what), return_exceptions=True)
    errors = [result for result in done if isinstance(result, BaseException)]
    for error in errors[1:]:
        errors[0].add_note(f"and also: {type(error).__name__}: {error}")
    if errors:
        raise errors[0]
    return [result for result in done if not isinstance(result, BaseException)]
