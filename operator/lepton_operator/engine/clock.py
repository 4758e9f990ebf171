"""What time it is, by the API server.

Times in objects are the cluster's. Held against a clock of this machine that is wrong, or that
somebody sets, deadlines would pass at once and pods that are just ending would count as lost.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TOLERANCE = 2.0
"""Seconds by which an answer may be late before its time counts as another: the Date of an answer
(RFC 9110, 6.6.1) is in whole seconds, and is made before the answer is sent."""


def boot_clock() -> float:
    """Seconds since boot, which go on while the machine sleeps; where there are none, monotonic."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class ServerClock:
    """Goes by this machine's clock until an answer was heard, and by the answers' Date after that;
    from one answer to the next by a clock that nobody sets."""

    def __init__(
        self,
        steady: Callable[[], float] = boot_clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._steady = steady
        self._wall = wall
        self._offset: float | None = None
        self._last: str | None = None

    def hear(self, date: str | None) -> None:
        """Take in the Date of an answer that has just come; what is none changes nothing."""
        if date is None or date == self._last:
            return
        self._last = date
        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        steady = self._steady()
        if self._offset is None or not told <= self._offset + steady <= told + TOLERANCE:
            self._offset = told - steady

    def now(self) -> datetime:
        """The time in UTC."""
        seconds = self._wall() if self._offset is None else self._offset + self._steady()
        return datetime.fromtimestamp(seconds, UTC)
