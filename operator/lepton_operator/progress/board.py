"""The latest progress of every running job, in memory. Lost with the process, and pulled anew."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from lepton.spec.report import Progress

K = TypeVar("K", bound=Hashable)

SPARKS = "▁▂▃▄▅▆▇█"
TREND_LENGTH = 8


def sparkline(values: list[float]) -> str:
    """Values as bars between the smallest and the largest of them; "" for fewer than two."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return SPARKS[0] * len(values)
    top = len(SPARKS) - 1
    return "".join(SPARKS[round((value - low) / (high - low) * top)] for value in values)


@dataclass
class Sample:
    """What one attempt's first worker last said, and how its leading metric moved."""

    attempt: int
    progress: Progress
    time: datetime
    leading: list[float] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    """Metrics that were numbers at any time."""

    @property
    def non_finite(self) -> tuple[str, ...]:
        """Metrics that were numbers and are none now. What never was one says nothing: means of
        what has not happened yet begin as NaN."""
        return tuple(
            name
            for name, value in self.progress.metrics.items()
            if name in self.numbers and (value is None or not math.isfinite(value))
        )

    @property
    def trend(self) -> str | None:
        """The leading metric's recent values as a sparkline, oldest first."""
        return sparkline(thinned(self.leading, TREND_LENGTH)) or None


def thinned(values: list[float], count: int) -> list[float]:
    """At most `count` of the values, evenly spread and with the last one."""
    if len(values) <= count:
        return list(values)
    step = (len(values) - 1) / (count - 1)
    return [values[round(i * step)] for i in range(count)]


class Board(Generic[K]):
    """Samples by job key."""

    HISTORY = 64

    def __init__(self) -> None:
        self._samples: dict[K, Sample] = {}
        self._asked: dict[K, tuple[int, datetime]] = {}

    def asked(self, key: K, attempt: int, time: datetime) -> None:
        """Note that an attempt's first worker was asked, whatever came of it."""
        self._asked[key] = attempt, time

    def last_asked(self, key: K, attempt: int) -> datetime | None:
        """When this attempt's first worker was last asked."""
        known, time = self._asked.get(key, (None, None))
        return time if known == attempt else None

    def put(self, key: K, attempt: int, progress: Progress, time: datetime) -> bool:
        """Take a report; returns whether it says something new. A new attempt starts anew."""
        known = self._samples.get(key)
        if known is None or known.attempt != attempt:
            known = self._samples[key] = Sample(attempt, progress, time)
            changed = True
        else:
            changed = known.progress != progress
            known.progress, known.time = progress, time
        known.numbers.update(
            name
            for name, value in progress.metrics.items()
            if value is not None and math.isfinite(value)
        )
        value = next(iter(progress.metrics.values()), None)
        if changed and value is not None and math.isfinite(value):
            known.leading.append(value)
            if len(known.leading) > self.HISTORY:
                known.leading = thinned(known.leading, self.HISTORY // 2)
        return changed

    def get(self, key: K, attempt: int) -> Sample | None:
        """The latest sample of this attempt."""
        sample = self._samples.get(key)
        return sample if sample is not None and sample.attempt == attempt else None

    def forget(self, key: K) -> None:
        """Drop what is known of a job that ended or is gone."""
        self._samples.pop(key, None)
        self._asked.pop(key, None)

    def __len__(self) -> int:
        return len(self._samples)
