"""What decide sees of the world: children trimmed to what it reads, progress, last log lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from lepton.spec.report import LastWord, Progress
from lepton_operator.api.names import ANNOTATION_DESIRED_HASH, LABEL_ATTEMPT, LABEL_JOB_NAME
from lepton_operator.reconcile.quantities import quantity

UNPLACED = ("Unschedulable", "SchedulingGated")
"""Reasons of PodScheduled while the scheduler does not place a pod, or may not."""
ANNOTATION_INDEX = "batch.kubernetes.io/job-completion-index"
LABEL_BATCH_JOB = "batch.kubernetes.io/job-name"
"""The Job controller's label; it stays on pods whose Job was deleted without them."""


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 timestamp of the API server, or None."""
    return datetime.fromisoformat(text) if text else None


@dataclass(frozen=True)
class ChildView:
    """What every kind of child has in common."""

    namespace: str
    name: str
    uid: str
    owner_uid: str | None
    """UID of the controlling owner."""
    job: str | None
    """Name of the LeptonTrainingJob that it belongs to, by its label."""
    attempt: int | None
    desired_hash: str | None
    deleting: bool

    @staticmethod
    def common(raw: Mapping[str, Any]) -> dict[str, Any]:
        """The common fields of an object as the API server sends it."""
        metadata = raw["metadata"]
        labels = metadata.get("labels") or {}
        attempt = labels.get(LABEL_ATTEMPT, "")
        owners = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
        return {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "owner_uid": owners[0]["uid"] if owners else None,
            "job": labels.get(LABEL_JOB_NAME),
            "attempt": int(attempt) if attempt.isdigit() else None,
            "desired_hash": (metadata.get("annotations") or {}).get(ANNOTATION_DESIRED_HASH),
            "deleting": "deletionTimestamp" in metadata,
        }


@dataclass(frozen=True)
class PlainView(ChildView):
    """A Service, EndpointSlice, NetworkPolicy or PersistentVolumeClaim: that it is there, and as it
    should be, is all that matters."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> "PlainView":
        """Trim an object as the API server sends it."""
        return cls(**cls.common(raw))


@dataclass(frozen=True)
class GroupView(ChildView):
    """A PodGroup: pods that are placed together or not at all."""

    api_version: str
    waits_for: str | None
    """The scheduler's message while it can't place them."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any], api_version: str) -> "GroupView":
        """Trim an object as the API server sends it; items of a list don't name their version."""
        told = {c["type"]: c for c in (raw.get("status") or {}).get("conditions") or ()}
        # Kubernetes says what it has not done, Volcano what is wrong.
        placed, wrong = told.get("PodGroupInitiallyScheduled"), told.get("Unschedulable")
        waits = None
        if placed is not None and placed.get("status") == "False":
            waits = placed.get("message") or placed.get("reason")
        elif wrong is not None and wrong.get("status") == "True":
            waits = wrong.get("message") or wrong.get("reason")
        return cls(**cls.common(raw), api_version=api_version, waits_for=waits)


@dataclass(frozen=True)
class JobView(ChildView):
    """A batch/v1 Job: one attempt."""

    version: str = field(compare=False)
    """resourceVersion. That nothing else has changed is no news."""
    started_time: datetime | None
    """When the Job controller began with it, or went on after it was suspended."""
    workers: int
    """Pods that it is made of."""
    suspended: bool
    suspended_time: datetime | None
    """Since when it is suspended."""
    complete: bool
    failed: bool
    finished_time: datetime | None
    """When the Complete or Failed condition became true."""
    failing_time: datetime | None
    """When the Job controller began to end the pods of a Job that fails (FailureTarget)."""
    failed_reason: str | None
    failed_message: str | None
    active: int
    succeeded: int
    failed_pods: int
    terminating: int

    @property
    def failing(self) -> bool:
        """Whether the Job has failed or is about to: no pod of it will be made any more."""
        return self.failed or self.failing_time is not None

    @property
    def over(self) -> bool:
        """Whether no pod of it will be made any more, since it fails or is complete."""
        return self.complete or self.failing

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> "JobView":
        """Trim an object as the API server sends it."""
        status = raw.get("status") or {}
        true = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
        last = true.get("Complete") or true.get("Failed") or {}
        failing = true.get("FailureTarget") or true.get("Failed") or {}
        return cls(
            **cls.common(raw),
            version=raw["metadata"]["resourceVersion"],
            started_time=parse_time(status.get("startTime")),
            workers=(raw.get("spec") or {}).get("completions") or 1,
            suspended=bool((raw.get("spec") or {}).get("suspend")),
            suspended_time=parse_time(true.get("Suspended", {}).get("lastTransitionTime")),
            complete="Complete" in true,
            failed="Failed" in true,
            finished_time=parse_time(last.get("lastTransitionTime")),
            failing_time=parse_time(failing.get("lastTransitionTime")),
            failed_reason=failing.get("reason"),
            failed_message=failing.get("message"),
            active=status.get("active", 0),
            succeeded=status.get("succeeded", 0),
            failed_pods=status.get("failed", 0),
            terminating=status.get("terminating", 0),
        )


@dataclass(frozen=True)
class PodView(ChildView):
    """A worker pod, or one that bears a worker's labels."""

    made_by: str | None
    """Name of the batch Job that made it, which may be gone; None when none did."""
    rank: int | None
    """The pod's completion index; with one process a pod its rank."""
    node: str | None
    ip: str | None
    phase: str
    ready: bool
    reason: str | None
    """status.reason, such as Evicted or NodeLost."""
    message: str | None
    """status.message: what is to be said of that reason."""
    disruption: str | None
    """Reason of the DisruptionTarget condition, when it is True."""
    unschedulable: str | None
    """The scheduler's message while the pod can't be placed."""
    waiting_reason: str | None
    """Why the training container waits, such as ImagePullBackOff."""
    waiting_message: str | None
    exit_code: int | None
    """Of the training container, once it ended."""
    termination_reason: str | None
    """OOMKilled, Error, Completed, ContainerCannotRun, StartError, ..."""
    termination_message: str | None
    created_time: datetime | None
    started_time: datetime | None
    """When the kubelet took the pod on."""
    running_since: datetime | None
    """When the training container started, also once it has ended."""
    finished_time: datetime | None
    delete_requested_time: datetime | None
    """When somebody first asked for the pod's deletion."""

    @property
    def finished(self) -> bool:
        """Whether nothing of the pod runs any more."""
        return self.phase in ("Succeeded", "Failed")

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> "PodView":
        """Trim an object as the API server sends it."""
        metadata, status = raw["metadata"], raw.get("status") or {}
        conditions = {c["type"]: c for c in status.get("conditions") or ()}
        index = (metadata.get("annotations") or {}).get(ANNOTATION_INDEX, "")
        state = _container_state(raw)
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or {}
        ran = ended or state.get("running") or {}
        disruption = conditions.get("DisruptionTarget", {})
        disrupted = disruption.get("status") == "True"
        scheduled = conditions.get("PodScheduled", {})
        unplaced = scheduled.get("status") == "False" and scheduled.get("reason") in UNPLACED
        finished = parse_time(ended.get("finishedAt"))
        if finished is None and disrupted and status.get("phase") == "Failed":
            finished = parse_time(disruption.get("lastTransitionTime"))
        return cls(
            **cls.common(raw),
            made_by=_maker(metadata),
            rank=int(index) if index.isdigit() else None,
            node=(raw.get("spec") or {}).get("nodeName"),
            ip=status.get("podIP"),
            phase=status.get("phase", "Pending"),
            ready=conditions.get("Ready", {}).get("status") == "True",
            reason=status.get("reason"),
            message=status.get("message"),
            disruption=disruption.get("reason") if disrupted else None,
            unschedulable=scheduled.get("message") if unplaced else None,
            waiting_reason=waiting.get("reason"),
            waiting_message=waiting.get("message"),
            exit_code=ended.get("exitCode"),
            termination_reason=ended.get("reason"),
            termination_message=ended.get("message"),
            created_time=parse_time(metadata.get("creationTimestamp")),
            started_time=parse_time(status.get("startTime")),
            running_since=parse_time(ran.get("startedAt")),
            finished_time=finished,
            delete_requested_time=_delete_requested_time(metadata),
        )

    def carry(self, after: "PodView") -> "PodView":
        """A later view of this pod, with when its deletion was first asked for. Once its containers
        have ended the kubelet asks again, without grace, and the API server then moves the
        deletionTimestamp to that moment: by it, the pod would have ended before anybody asked."""
        asked = self.delete_requested_time
        if asked is None or after.delete_requested_time is None:
            return after
        return replace(after, delete_requested_time=min(asked, after.delete_requested_time))


def _maker(metadata: Mapping[str, Any]) -> str | None:
    """Name of the batch Job that controls a pod, or did before it was deleted alone."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            name: str = owner["name"]
            return name if owner["kind"] == "Job" else None
    return (metadata.get("labels") or {}).get(LABEL_BATCH_JOB)


def _container_state(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """State of the training container, which is the pod's first."""
    containers = (raw.get("spec") or {}).get("containers") or ()
    name = containers[0]["name"] if containers else None
    for told in (raw.get("status") or {}).get("containerStatuses") or ():
        if told.get("name") == name or name is None:
            state: Mapping[str, Any] = told.get("state") or {}
            return state
    return {}


def _delete_requested_time(metadata: Mapping[str, Any]) -> datetime | None:
    """deletionTimestamp lies in the future by the grace period, unless that was shortened when it
    was over in part."""
    due = parse_time(metadata.get("deletionTimestamp"))
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return due - grace if due is not None else None


@dataclass(frozen=True)
class MemoryLimits:
    """How much memory a namespace allows, in bytes; None for no limit, or none that is known."""

    per_worker: Decimal | None = None
    """By LimitRanges."""
    left: Decimal | None = None
    """Of the limits of all pods together, by ResourceQuotas."""
    requests_left: Decimal | None = None
    """Of the requests of all pods together."""

    @classmethod
    def from_objects(
        cls, ranges: Iterable[Mapping[str, Any]], quotas: Iterable[Mapping[str, Any]]
    ) -> "MemoryLimits":
        """Read them from the objects as the API server sends them."""
        most = [
            quantity(item["max"]["memory"])
            for found in ranges
            for item in found["spec"].get("limits") or ()
            if item.get("type") in ("Container", "Pod") and "memory" in (item.get("max") or {})
        ]
        left: dict[str, list[Decimal]] = {"limits": [], "requests": []}
        for quota in quotas:
            if not _counts_workers(quota.get("spec") or {}):
                continue
            status = quota.get("status") or {}
            hard, used = status.get("hard") or {}, status.get("used") or {}
            for kind, name in (
                ("limits", "limits.memory"),
                ("requests", "requests.memory"),
                ("requests", "memory"),
            ):
                if name in hard:
                    left[kind].append(quantity(hard[name]) - quantity(used.get(name, 0)))
        return cls(
            min(most, default=None),
            min(left["limits"], default=None),
            min(left["requests"], default=None),
        )


def _counts_workers(quota: Mapping[str, Any]) -> bool:
    """Whether a quota is about every worker. Of priority classes we can't be sure."""
    scopes = set(quota.get("scopes") or ())
    return not quota.get("scopeSelector") and scopes <= {"NotTerminating", "NotBestEffort"}


@dataclass(frozen=True)
class Taint:
    """What keeps pods from a node that don't tolerate it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True)
class NodeView:
    """A node, as far as it matters to which pods, and how many, may run there."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    """Those that keep pods away; one stands for a node that is cordoned."""
    allocatable: Mapping[str, Decimal]
    """What pods may request there in all, by resource."""

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> "NodeView":
        """Trim an object as the API server sends it."""
        metadata, spec = raw["metadata"], raw.get("spec") or {}
        taints = {
            Taint(taint["key"], taint.get("value") or "", taint["effect"])
            for taint in spec.get("taints") or ()
            if taint.get("effect") in ("NoSchedule", "NoExecute")
        }
        if spec.get("unschedulable"):
            taints.add(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"))
        ordered = tuple(sorted(taints, key=lambda taint: (taint.key, taint.value, taint.effect)))
        amounts = (raw.get("status") or {}).get("allocatable") or {}
        return cls(
            metadata["name"],
            dict(metadata.get("labels") or {}),
            ordered,
            {name: quantity(amount) for name, amount in amounts.items()},
        )


@dataclass(frozen=True)
class Told:
    """A condition of an object of somebody else's."""

    true: bool
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})" if self.message else self.reason


class NoWorkload(StrEnum):
    """Why there is no word of Kueue's about a Job."""

    NOT_MADE = "Kueue has made no Workload of it"
    NOT_READABLE = "Kueue's Workloads can't be read"


@dataclass(frozen=True)
class WorkloadView:
    """A Workload: what Kueue knows of a Job, and says of it.

    https://kueue.sigs.k8s.io/docs/concepts/workload/; v1beta1 and v1beta2 say this the same way.
    """

    conditions: Mapping[str, Told]
    """By type: QuotaReserved, Admitted, Evicted, Finished and others."""
    checks: tuple[str, ...]
    """Admission checks that are not ready, each with its state and what it says."""

    @classmethod
    def of_job(
        cls, workloads: Iterable[Mapping[str, Any]], job_uid: str
    ) -> "WorkloadView | NoWorkload":
        """The newest of a batch Job, of objects as the API server sends them."""
        owned = [
            raw
            for raw in workloads
            for owner in raw["metadata"].get("ownerReferences") or ()
            if owner.get("uid") == job_uid
        ]
        if not owned:
            return NoWorkload.NOT_MADE
        newest = max(owned, key=lambda raw: str(raw["metadata"].get("creationTimestamp")))
        status = newest.get("status") or {}
        return cls(
            {
                told["type"]: Told(
                    told.get("status") == "True", told.get("reason", ""), told.get("message", "")
                )
                for told in status.get("conditions") or ()
            },
            tuple(
                f"{check['name']}: {Told(False, check.get('state', ''), check.get('message', ''))}"
                for check in status.get("admissionChecks") or ()
                if check.get("state") != "Ready"
            ),
        )


@dataclass(frozen=True)
class Observed:
    """The children of one job as last seen, and what its pods said."""

    jobs: tuple[JobView, ...] = ()
    pods: tuple[PodView, ...] = ()
    departed: tuple[PodView, ...] = ()
    """Pods that had ended, and are gone since, as they were last seen: where one of several fails,
    Kubernetes ends and deletes its peers, which may have been the cause."""
    services: tuple[PlainView, ...] = ()
    """Of the namespace: what the workers of all its jobs have their names from."""
    slices: tuple[PlainView, ...] = ()
    claims: tuple[PlainView, ...] = ()
    policies: tuple[PlainView, ...] = ()
    groups: tuple[GroupView, ...] = ()
    progress: Progress | None = None
    """What the first worker of the current attempt last said."""
    progress_time: datetime | None = None
    asked_time: datetime | None = None
    """When it was last asked, whether it answered or not."""
    non_finite: tuple[str, ...] = ()
    """Metrics that it has reported as numbers in this attempt, and last as NaN or infinity."""
    trend: str | None = None
    last_words: Mapping[str, LastWord] = field(default_factory=dict)
    """Termination messages in lepton's format, by pod UID."""
    log_tails: Mapping[str, str] = field(default_factory=dict)
    """Last lines of the logs of failed pods without a last word, by pod UID."""
    refused: str | None = None
    """Why the API server refused for good to make an object of this job (422), if it did."""
    refused_for_now: str | None = None
    """Which object of this job the API server refused to make when it was last asked, and why in
    its words, if it may be made later (quota, admission, access rights)."""
    name_taken: str | None = None
    """Which object of somebody else has a name that an object of this job needs, if one has."""
    limits: MemoryLimits | None = None
    """What the namespace allows; None unless a plan asked to look it up."""
    nodes: tuple[NodeView, ...] | None = None
    """All nodes; None unless a plan asked to look them up."""
    looked_up_job: tuple[JobView, ...] | None = None
    """The batch Job that a plan asked to look up, if it is there; None unless one did."""
    job_vanished_ago: timedelta | None = None
    """How long ago a batch Job of this training job, or of an earlier one of its name, was seen to
    go, if lately. Pods of it may not have been seen at all yet: their watch is another."""
    pods_looked_up: bool = False
    """Whether `pods` were looked up, as a plan asked."""
    workload: WorkloadView | NoWorkload | None = None
    """What Kueue says of the current batch Job; None unless a plan asked to look it up."""
    regions: Mapping[str, str | None] = field(default_factory=dict)
    """Regions of the nodes that a plan asked to look up; None for a node that has none."""
