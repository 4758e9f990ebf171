"""A process that its peers heard nothing of any more: which one it was, and who noticed.

Those of lepton have a heartbeat (lepton/heartbeat.py). Whoever misses another ends, and leaves its
rank in the last word; the one that is missed may not have ended at all.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lepton.spec.report import LastWord
from lepton_operator.reconcile.observed import PodView

TOGETHER = timedelta(seconds=5)
"""Two that don't hear each other notice within two beats. Who does so later may miss one that had
noticed, and ended."""


@dataclass(frozen=True)
class Silence:
    """That one process missed another."""

    rank: int
    """Of the silent one, among all processes."""
    pod: PodView
    """In which that ran."""
    witness: PodView
    """In which the other ran."""
    noticed_by: int
    """Rank of the other, which has ended."""
    noticed_time: datetime
    """When it did."""
    text: str
    """What it said."""


def silences(
    pods: Iterable[PodView], last_words: Mapping[str, LastWord], processes: int
) -> tuple[Silence, ...]:
    """What was noticed in an attempt of so many processes a worker, the first one first."""
    found = _silences({pod.rank or 0: pod for pod in pods}, last_words, processes)
    return tuple(sorted(found, key=lambda one: (one.noticed_time, one.noticed_by)))


def _silences(
    pods: Mapping[int, PodView], last_words: Mapping[str, LastWord], processes: int
) -> Iterator[Silence]:
    for index, pod in pods.items():
        word = last_words.get(pod.uid)
        error = word.error if word is not None else None
        if word is None or error is None or error.silent is None or pod.finished_time is None:
            continue
        silent = pods.get(error.silent // processes)
        rank = word.rank if processes > 1 else index
        if silent is not None:
            yield Silence(error.silent, silent, pod, rank, pod.finished_time, error.line)


def is_mutual(first: Silence, found: tuple[Silence, ...]) -> bool:
    """Whether the silent process's pod, too, missed a process of another pod, so that both ran."""
    return first.pod is not first.witness and any(
        other.witness is first.pod
        and other.pod is not other.witness
        and other.noticed_time - first.noticed_time <= TOGETHER
        for other in found
    )
