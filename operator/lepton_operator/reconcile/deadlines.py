"""startAt, activeDeadlineSeconds and pendingDeadlineSeconds: when a job may begin, and how long it
may run and wait."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile import attempts, suspension
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import duration, one_line
from lepton_operator.reconcile.workers import first_obstacle

NONE = timedelta(0)


def until_start(situation: Situation) -> timedelta | None:
    """How long the job has to wait for its startAt; None when it may begin."""
    start = situation.spec.start_at
    if start is None or situation.now >= start:
        return None
    return start - situation.now


def start_text(situation: Situation) -> str:
    """When the job begins, for people."""
    start = situation.spec.start_at
    assert start is not None
    return f"starts at {start.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


# activeDeadlineSeconds: only time in which pods run counts. A period of running is in the status
# from its beginning on, so that it is not lost with the pods or with the operator.


def with_clock(status: LeptonTrainingJobStatus, situation: Situation) -> LeptonTrainingJobStatus:
    """The status with the clock running while pods run, and stopped while the job is suspended or
    has no Job."""
    if situation.spec.active_deadline_seconds is None:
        return status
    current = situation.current_job
    if current is None:
        # Pods may outlive their Job by a while.
        still = bool(situation.pods_in_the_way)
        return status if still else _stopped(status, status.active_since, situation.now)
    if suspension.at_rest(situation):
        return _stopped(status, status.active_since, current.suspended_time or situation.now)
    begins = _begins(pod for pod in situation.pods if not situation.is_over(pod))
    if status.active_since is not None or begins is None:
        return status
    return status.model_copy(update={"active_since": begins})


def with_clock_stopped(
    status: LeptonTrainingJobStatus, situation: Situation
) -> LeptonTrainingJobStatus:
    """The status at the end of an attempt, with its time added."""
    if situation.spec.active_deadline_seconds is None:
        return status
    ends = [pod.finished_time for pod in situation.pods if pod.finished]
    known = [time for time in ends if time is not None]
    all_known = known and len(known) == len(situation.pods)
    end = max(known) if all_known else situation.now
    return _stopped(status, status.active_since or _begins(situation.pods), end)


def _begins(pods: Iterable[PodView]) -> datetime | None:
    return min((pod.running_since for pod in pods if pod.running_since is not None), default=None)


def _stopped(
    status: LeptonTrainingJobStatus, begin: datetime | None, end: datetime
) -> LeptonTrainingJobStatus:
    if begin is None:
        return status
    seconds = (status.active_seconds or 0) + int(max(NONE, end - begin).total_seconds())
    return status.model_copy(update={"active_seconds": seconds, "active_since": None})


def active_time_left(status: LeptonTrainingJobStatus, situation: Situation) -> timedelta | None:
    """How much longer pods may run; None without a limit."""
    limit = situation.spec.active_deadline_seconds
    if limit is None:
        return None
    running = situation.now - status.active_since if status.active_since is not None else NONE
    return timedelta(seconds=limit - (status.active_seconds or 0)) - running


def pending_time_left(situation: Situation) -> timedelta | None:
    """How much longer workers may wait for their pods to run; None when they don't have to, or
    may for ever."""
    limit, since = situation.spec.pending_deadline_seconds, _pending_since(situation)
    if limit is None or since is None:
        return None
    return since + timedelta(seconds=limit) - situation.now


def _pending_since(situation: Situation) -> datetime | None:
    """Since when workers wait for their pods to run; None when they don't have to."""
    current = situation.current_job
    if situation.spec.suspend:
        return None
    if current is None:
        return _refused_since(situation)
    ran = {pod.rank for pod in situation.pods if pod.phase != "Pending"}
    return None if current.suspended or len(ran) >= situation.spec.workers else current.started_time


def _refused_since(situation: Situation) -> datetime | None:
    """When the attempt began, or went on, whose Job the API server refuses to make for now."""
    status, policy = situation.status, situation.spec.failure_policy
    rest = status.condition(ConditionType.SUSPENDED)
    if situation.observed.refused_for_now is None or status.is_true(ConditionType.SUSPENDED):
        return None
    began = attempts.start_time(status, policy, situation.job.uid)
    times = (began, rest.last_transition_time if rest is not None else None)
    return max((time for time in times if time is not None), default=None)


def exceeded(status: LeptonTrainingJobStatus, situation: Situation) -> tuple[Reason, str] | None:
    """Which deadline is over, as reason and message."""
    active, pending = active_time_left(status, situation), pending_time_left(situation)
    if active is not None and active <= NONE:
        limit = duration(situation.spec.active_deadline_seconds or 0)
        return Reason.DEADLINE_EXCEEDED, f"pods have run for activeDeadlineSeconds ({limit})"
    if pending is not None and pending <= NONE:
        limit = duration(situation.spec.pending_deadline_seconds or 0)
        text = f"workers wait for longer than pendingDeadlineSeconds ({limit})"
        why = first_obstacle(situation, quick=False) or "nothing tells why"
        return Reason.PENDING_DEADLINE_EXCEEDED, one_line(f"{text}: {why}", 1000)
    return None
