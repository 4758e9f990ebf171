"""How often a job's progress may be written: a share of the write budget each."""

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Pacer(Generic[K]):
    """Spaces the progress writes of each job.

    A young job's progress is written every `minimum` seconds, an older one's whenever its age has
    grown by a quarter, and at least once a minute: watchers of a job of minutes see it move, and a
    job of hours does not cost the API server hundreds of writes for the sake of a percent each.
    Many running jobs share a budget: with 1,000 of them and 25 writes/s each waits 40 s at least.
    """

    GROWTH = 0.25
    MAXIMUM = 60.0

    def __init__(
        self,
        *,
        minimum: float = 10.0,
        writes_per_second: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._minimum = minimum
        self._writes_per_second = writes_per_second
        self._clock = clock
        self._last: dict[K, float] = {}
        self.running = 0
        """Number of running jobs; the collector keeps it."""

    @property
    def shortest(self) -> float:
        """Seconds between two progress writes of one job at least."""
        return max(self._minimum, self.running / self._writes_per_second)

    def period(self, age: float) -> float:
        """Seconds between two progress writes of a job that has been going for `age` seconds."""
        return max(self.shortest, min(self.MAXIMUM, age * self.GROWTH))

    def wait(self, key: K, age: float) -> float:
        """Seconds until the progress of a job of this age may be written; 0 now."""
        last = self._last.get(key)
        return 0.0 if last is None else max(0.0, last + self.period(age) - self._clock())

    def written(self, key: K) -> None:
        """Note a status write, of whatever kind: every write carries the progress along."""
        self._last[key] = self._clock()

    def forget(self, key: K) -> None:
        """Drop a job that ended or is gone."""
        self._last.pop(key, None)
