"""A process that its peers heard nothing of any more: which one it was, and who noticed.

Those of lepton have a heartbeat (lepton/heartbeat.py). Whoever misses another ends, and leaves its
rank in the last word; the one that is missed may not have ended at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lepton_operator.reconcile.manifests import processes_per_worker
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.situation import Situation

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


def silences(situation: Situation) -> tuple[Silence, ...]:
    """What was noticed in the current attempt, the first one first."""
    return tuple(
        sorted(_silences(situation), key=lambda found: (found.noticed_time, found.noticed_by))
    )


def _silences(situation: Situation) -> Iterator[Silence]:
    processes = processes_per_worker(situation.spec)
    pods = {pod.rank or 0: pod for pod in situation.witnesses}
    for index, pod in pods.items():
        word = situation.observed.last_words.get(pod.uid)
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
