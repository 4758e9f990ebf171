"""What decide wants done: objects to make, objects to delete, the new status, events."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from lepton_operator.api.names import Reason
from lepton_operator.api.status import LeptonTrainingJobStatus


@dataclass(frozen=True)
class Deletion:
    """An object to delete, provided that it is still the one that was seen."""

    kind: Literal["EndpointSlice", "Job", "LeptonTrainingJob", "PodGroup"]
    name: str
    uid: str
    api_version: str | None = None
    """Of a PodGroup, since several groups have this kind."""
    version: str | None = None
    """The version that was seen, if what the object has become since may speak against it: a Job
    that has ended has a result to count and logs to keep."""


@dataclass(frozen=True)
class EventNote:
    """A Kubernetes Event about the job, sent after the status that it speaks of was written."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True)
class Wait:
    """A batch Job that waits in a queue of Kueue."""

    job_uid: str
    since: datetime
    """What was said of it before is about another wait."""


@dataclass(frozen=True)
class LookUp:
    """What is read of the API server only where a plan depends on it."""

    limits: bool = False
    """LimitRanges and ResourceQuotas of the job's namespace."""
    nodes: bool = False
    """All nodes."""
    regions_of: frozenset[str] = frozenset()
    """Regions of these nodes."""
    job: str | None = None
    """The batch Job of this name."""
    pods_of: str | None = None
    """The pods of the training job of this name, whatever a cache has of them."""
    wait: Wait | None = None
    """Why this batch Job waits, by Kueue. The answer may be queueing.ASKED_EVERY old."""

    def __bool__(self) -> bool:
        named = (self.job, self.pods_of, self.wait)
        return self.limits or self.nodes or bool(self.regions_of) or any(named)


@dataclass(frozen=True)
class Plan:
    """Everything that is to be done now for one job. Written in this order: status, objects,
    deletions, events; each part alone leaves a state that decide can go on from."""

    status: LeptonTrainingJobStatus
    urgent: bool = True
    """False when only progress moved: the write may wait for its turn."""
    starting: bool = False
    """Whether workers come up and nothing is known to be in their way. What may wait is then only
    how many are there already, which is told with the last of them at the latest."""
    create: tuple[Mapping[str, Any], ...] = ()
    """Complete manifests to POST; AlreadyExists means: look at its owner's UID."""
    apply: tuple[Mapping[str, Any], ...] = ()
    """Complete manifests of objects that exist but differ, for server-side apply."""
    delete: tuple[Deletion, ...] = ()
    events: tuple[EventNote, ...] = ()
    again_in: timedelta | None = None
    """When to look again although nothing may have happened."""
    look_up: LookUp | None = None
    """What to observe first: decide is to be asked again with it, and nothing of this plan is to
    be done. It never asks for what it was given."""
