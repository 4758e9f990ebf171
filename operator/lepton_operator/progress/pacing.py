"""How often a job's progress may be written: a share of the write budget each."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

STARTING_SHARE = 1 / 8
"""Of the writes, for jobs whose workers come up as they should."""


class Pacer(Generic[K]):
    """Spaces the progress writes of each job: one every `minimum` seconds, but all running jobs
    share a budget. With 5,000 of them and 54 writes/s each waits 93 s at least.
    """

    def __init__(
        self,
        *,
        minimum: float = 10.0,
        writes_per_second: float = 54.0,
        unfinished: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`unfinished` tells how many jobs have not ended, running or not."""
        self._minimum = minimum
        self._writes_per_second = writes_per_second
        self._unfinished = unfinished
        self._clock = clock
        self._last: dict[K, float] = {}
        self.running = 0
        """Number of running jobs; the collector keeps it."""

    @property
    def period(self) -> float:
        """Seconds between two progress writes of one job."""
        return max(self._minimum, self.running / self._writes_per_second)

    def wait(self, key: K, *, starting: bool = False) -> float:
        """Seconds until the progress of a job may be written; 0 now. Where many start at once, how
        far one of them has come waits for what makes the others start."""
        last = self._last.get(key)
        period = self.period
        if starting:
            share = STARTING_SHARE * self._writes_per_second
            period = max(period, self._unfinished() / share)
        return 0.0 if last is None else max(0.0, last + period - self._clock())

    def written(self, key: K, age: float = 0.0) -> None:
        """Note a status write, of whatever kind: every write carries the progress along, which may
        be some seconds old, as where thousands wait to be written. Then the next is due sooner, but
        for the minimum between two."""
        self._last[key] = self._clock() - min(age, self.period - self._minimum)

    def forget(self, key: K) -> None:
        """Drop a job that ended or is gone."""
        self._last.pop(key, None)
