"""What can happen to a watch: ends, cuts, stalls, errors in band; events lost, twice, out of order.

A fault of a watch is a generator over its lines (each with its newline). Bookmarks pass, and are no
events.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from campaign.faults import Cut, status

Lines = AsyncIterator[bytes]
Event = dict[str, Any]


class StreamFault(Protocol):
    """Something that happens to the lines of a watch."""

    def through(self, lines: Lines) -> Lines:
        """The lines that the operator gets; raises Cut where its connection breaks."""


def event_of(line: bytes) -> Event | None:
    """The event of a line; None for a bookmark."""
    event: Event = json.loads(line)
    return None if event["type"] == "BOOKMARK" else event


def any_event(event: Event) -> bool:
    """All of them."""
    return True


def reaches(kind: str) -> Callable[[Event], bool]:
    """Events that show a condition of this type to be true."""

    def shows(event: Event) -> bool:
        told = (event["object"].get("status") or {}).get("conditions") or ()
        return any(c["type"] == kind and c["status"] == "True" for c in told)

    return shows


async def counted(lines: Lines, events: int) -> AsyncIterator[tuple[bytes, bool]]:
    """Each line, and whether it is an event beyond so many."""
    seen = 0
    async for line in lines:
        seen += event_of(line) is not None
        yield line, seen > events


@dataclass(frozen=True)
class EndAfter:
    """The server ends the watch in good order after so many events."""

    events: int

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        async for line, beyond in counted(lines, self.events):
            if beyond:
                return
            yield line


@dataclass(frozen=True)
class CutAfter:
    """The connection breaks after so many events, between two lines or in the middle of one."""

    events: int
    in_line: bool = False

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        async for line, beyond in counted(lines, self.events):
            if beyond:
                if self.in_line:
                    yield line[: len(line) // 2]
                raise Cut
            yield line


@dataclass(frozen=True)
class StallAfter:
    """Nothing comes any more after so many events, while the connection stays open."""

    events: int

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        async for line, beyond in counted(lines, self.events):
            if beyond:
                await asyncio.Event().wait()
            yield line


@dataclass(frozen=True)
class ErrorAfter:
    """After so many events the server reports an error within the watch, and ends it."""

    events: int
    code: int = 410
    reason: str = "Expired"

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        async for line, beyond in counted(lines, self.events):
            if beyond:
                told = {"type": "ERROR", "object": status(self.code, self.reason)}
                yield json.dumps(told).encode() + b"\n"
                return
            yield line


@dataclass(frozen=True)
class Late:
    """Nothing comes for so many seconds, and then all of it."""

    seconds: float

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        await asyncio.sleep(self.seconds)
        async for line in lines:
            yield line


@dataclass(frozen=True)
class Lose:
    """Events that never arrive."""

    which: Callable[[Event], bool] = any_event

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        async for line in lines:
            event = event_of(line)
            if event is None or not self.which(event):
                yield line


@dataclass(frozen=True)
class Twice:
    """Every event comes twice, and an older one of the same object once more after it."""

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        last: dict[str, bytes] = {}
        async for line in lines:
            yield line
            event = event_of(line)
            if event is None:
                continue
            yield line
            uid = event["object"]["metadata"]["uid"]
            if uid in last and event["type"] != "DELETED":
                yield last[uid]
            last[uid] = line


@dataclass(frozen=True)
class Swap:
    """Events come in pairs, each pair in the wrong order; the last waits `patience` seconds."""

    patience: float = 0.5

    async def through(self, lines: Lines) -> Lines:
        """See StreamFault."""
        held: bytes | None = None
        coming = asyncio.ensure_future(anext(lines, None))
        while True:
            await asyncio.wait([coming], timeout=None if held is None else self.patience)
            if not coming.done():
                assert held is not None
                yield held
                held = None
                continue
            line = coming.result()
            if line is None:
                break
            coming = asyncio.ensure_future(anext(lines, None))
            if event_of(line) is None:
                yield line
            elif held is None:
                held = line
            else:
                yield line
                yield held
                held = None
        if held is not None:
            yield held
