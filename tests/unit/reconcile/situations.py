"""Short hands for tests of decide: jobs, children, and what pods left."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lepton.spec.report import ErrorReport, LastWord
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.names import ANNOTATION_DESIRED_HASH, ConditionType
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.decide import decide
from lepton_operator.reconcile.observed import JobView, Observed, PlainView, PodView
from lepton_operator.reconcile.plan import Plan
from lepton_operator.reconcile.settings import Settings

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(trainer_image="trainer:1", max_interruptions=3)
UID = "0123456789ab"


def at(seconds: float) -> datetime:
    """So many seconds after the tests' beginning of time."""
    return NOW + timedelta(seconds=seconds)


def training_job(status: Mapping[str, Any] | None = None, **spec: Any) -> TrainingJob:
    """A job named `job`, of lepton's own trainer unless the spec says otherwise."""
    if not spec.keys() & {"environment", "command", "image"}:
        spec["environment"] = {}
    return TrainingJob.from_object(
        {
            "metadata": {
                "namespace": "team",
                "name": "job",
                "uid": UID,
                "generation": 1,
                "resourceVersion": "1",
            },
            "spec": spec,
            "status": dict(status or {}),
        }
    )


def running(attempt: int = 1, **more: Any) -> dict[str, Any]:
    """The status of a job whose workers were all ready."""
    return {
        "observedGeneration": 1,
        "phase": "Running",
        "startTime": "2026-01-01T11:00:00Z",
        "attempt": attempt,
        "restarts": attempt - 1,
        "interruptions": 0,
        "conditions": [
            {
                "type": "PodsReady",
                "status": "True",
                "reason": "AllPodsReady",
                "message": "2 workers ready",
                "lastTransitionTime": "2026-01-01T11:00:05Z",
                "observedGeneration": 1,
            }
        ],
    } | more


def counted(attempt: int = 1, **more: Any) -> dict[str, Any]:
    """The status of a job whose attempt is counted and not made yet."""
    status = running(attempt)
    status["phase"] = "Pending" if attempt == 1 else "Restarting"
    status["conditions"][0] |= {
        "status": "False",
        "reason": "Starting" if attempt == 1 else "Restarting",
    }
    return status | more


def batch_job(attempt: int = 1, **more: Any) -> JobView:
    """A batch Job that runs. Unless told otherwise it has as many workers as its job asks for,
    which plan_for knows."""
    view = JobView(
        namespace="team",
        name=f"job-{attempt}",
        uid=f"job-uid-{attempt}",
        owner_uid=UID,
        job="job",
        attempt=attempt,
        desired_hash=None,
        deleting=False,
        version="7",
        started_time=at(-60),
        workers=0,
        suspended=False,
        suspended_time=None,
        complete=False,
        failed=False,
        finished_time=None,
        failing_time=None,
        failed_reason=None,
        failed_message=None,
        active=2,
        succeeded=0,
        failed_pods=0,
        terminating=0,
    )
    return replace(view, **more)


def failed_job(seconds: float = 0, attempt: int = 1, **more: Any) -> JobView:
    """A batch Job that failed at that time."""
    time = at(seconds)
    return batch_job(attempt, failed=True, failing_time=time, finished_time=time, **more)


def pod(rank: int = 0, attempt: int = 1, **more: Any) -> PodView:
    """A worker that trains."""
    view = PodView(
        namespace="team",
        name=f"job-{attempt}-{rank}-abcde",
        uid=f"pod-uid-{attempt}-{rank}",
        owner_uid=f"job-uid-{attempt}",
        job="job",
        attempt=attempt,
        desired_hash=None,
        deleting=False,
        made_by=f"job-{attempt}",
        rank=rank,
        node=f"node-{rank}",
        ip="10.0.0.1",
        phase="Running",
        ready=True,
        reason=None,
        message=None,
        disruption=None,
        unschedulable=None,
        waiting_reason=None,
        waiting_message=None,
        exit_code=None,
        termination_reason=None,
        termination_message=None,
        created_time=at(-60),
        started_time=at(-60),
        running_since=at(-55),
        finished_time=None,
        delete_requested_time=None,
    )
    return replace(view, **more)


def ended(rank: int = 0, code: int = 1, seconds: float = 0, **more: Any) -> PodView:
    """A worker whose program ended with this code at that time."""
    told: dict[str, Any] = {
        "phase": "Failed" if code else "Succeeded",
        "ready": False,
        "exit_code": code,
        "termination_reason": "Error" if code else "Completed",
        "finished_time": at(seconds),
    }
    return pod(rank, **(told | more))


def deleted(view: PodView, seconds: float = 0) -> PodView:
    """The same pod, asked to end at that time."""
    return replace(view, deleting=True, ready=False, delete_requested_time=at(seconds))


def word(line: str, where: str | None = None, **more: Any) -> LastWord:
    """The last word of a process that raised."""
    rank = more.pop("rank", 0)
    return LastWord(rank=rank, error=ErrorReport(line=line, where=where, **more))


def service(**more: Any) -> PlainView:
    """The Service of the namespace, which is nobody's."""
    wanted = manifests.service("team")["metadata"]["annotations"][ANNOTATION_DESIRED_HASH]
    nobodys = {"owner_uid": None, "job": None, "desired_hash": wanted}
    return plain("lepton-workers", **(nobodys | more))


def plain(name: str = "job", **more: Any) -> PlainView:
    """A claim of the job."""
    view = PlainView(
        namespace="team",
        name=name,
        uid=f"uid-of-{name}",
        owner_uid=UID,
        job="job",
        attempt=None,
        desired_hash=None,
        deleting=False,
    )
    return replace(view, **more)


def plan_for(
    job: TrainingJob, now: datetime = NOW, settings: Settings = SETTINGS, **observed: Any
) -> Plan:
    """What decide plans; twice the same."""
    observed["jobs"] = tuple(
        replace(view, workers=view.workers or job.spec.get("workers", 1))
        for view in observed.get("jobs", ())
    )
    seen = Observed(**observed)
    plan = decide(job, seen, settings, now)
    assert decide(job, seen, settings, now) == plan
    return plan


def condition(plan: Plan, kind: ConditionType) -> Any:
    """The planned status's condition of this type."""
    return plan.status.condition(kind)


def is_true(plan: Plan, kind: ConditionType) -> bool:
    """Whether the planned status has this condition."""
    return plan.status.is_true(kind)


def kinds(objects: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Kind and name of each."""
    return [(o["kind"], o["metadata"]["name"]) for o in objects]
