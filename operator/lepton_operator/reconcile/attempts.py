"""Counting attempts: budgets, backoff, and what is kept of those that failed."""

from datetime import datetime, timedelta

from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.spec import FailurePolicy
from lepton_operator.api.status import MAX_ATTEMPTS_LISTED, Attempt, LeptonTrainingJobStatus
from lepton_operator.reconcile.failure import Failure
from lepton_operator.reconcile.settings import Settings
from lepton_operator.reconcile.text import plural

LONGEST_BACKOFF = timedelta(minutes=10)
GOOD_RUN = timedelta(minutes=10)
"""An attempt that ran for so long was no failure to start: backoff begins anew after it."""


def counted_time(status: LeptonTrainingJobStatus) -> datetime | None:
    """When the current attempt was counted."""
    return status.attempts[-1].end_time if status.attempts else status.start_time


def start_time(status: LeptonTrainingJobStatus, policy: FailurePolicy) -> datetime | None:
    """When the current attempt may start: when it was counted, and the backoff after that.

    Read from the status alone, so that it survives a restart of the operator.
    """
    counted = counted_time(status)
    return None if counted is None else counted + backoff(status, policy)


def backoff(status: LeptonTrainingJobStatus, policy: FailurePolicy) -> timedelta:
    """backoffSeconds, doubled for each further failure in a row, at most ten minutes.

    A first interruption by the infrastructure is not the program's fault: no backoff.
    """
    in_a_row = 0
    for attempt in reversed(status.attempts):
        if _ran(attempt) >= GOOD_RUN:
            in_a_row += 1
            break
        in_a_row += 1
    if not status.attempts:
        return timedelta(0)
    if status.attempts[-1].failure_class == FailureClass.INFRASTRUCTURE:
        in_a_row -= 1
    if in_a_row == 0:
        return timedelta(0)
    seconds = policy.backoff_seconds * 2 ** min(in_a_row - 1, 16)
    return min(timedelta(seconds=seconds), LONGEST_BACKOFF)


def _ran(attempt: Attempt) -> timedelta:
    if attempt.start_time is None or attempt.end_time is None:
        return timedelta(0)
    return attempt.end_time - attempt.start_time


def exhausted(
    status: LeptonTrainingJobStatus, failure: Failure, policy: FailurePolicy, settings: Settings
) -> tuple[Reason, str] | None:
    """Why there is no further attempt, as reason and message; None when there is one."""
    if failure.failure_class is FailureClass.INVALID:
        return failure.reason, failure.message
    if failure.failure_class is FailureClass.INFRASTRUCTURE:
        if status.interruptions < settings.max_interruptions:
            return None
        return (
            Reason.MAX_INTERRUPTIONS_EXCEEDED,
            f"interrupted more than {plural(settings.max_interruptions, 'time')};"
            f" at last: {failure.message}",
        )
    restarts = status.restarts - status.interruptions
    if restarts < policy.max_restarts:
        return None
    if policy.max_restarts == 0:
        return Reason.MAX_RESTARTS_EXCEEDED, failure.message
    return (
        Reason.MAX_RESTARTS_EXCEEDED,
        f"failed after {plural(policy.max_restarts, 'restart')}; at last: {failure.message}",
    )


def with_failed_attempt(
    status: LeptonTrainingJobStatus,
    failure: Failure,
    policy: FailurePolicy,
    now: datetime,
    step: int | None,
) -> LeptonTrainingJobStatus:
    """The status with the current attempt among those that failed."""
    ended = Attempt(
        number=status.attempt,
        start_time=start_time(status, policy),
        end_time=now,
        failure_class=failure.failure_class,
        reason=str(failure.reason),
        message=failure.message,
        rank=failure.rank,
        exit_code=failure.exit_code,
        node=failure.node,
        step=step,
    )
    attempts = [*status.attempts, ended][-MAX_ATTEMPTS_LISTED:]
    return status.model_copy(update={"attempts": attempts})


def with_next_attempt(status: LeptonTrainingJobStatus, failure: Failure) -> LeptonTrainingJobStatus:
    """The status with one more attempt counted, before anything of it exists."""
    interrupted = failure.failure_class is FailureClass.INFRASTRUCTURE
    return status.model_copy(
        update={
            "attempt": status.attempt + 1,
            "restarts": status.restarts + 1,
            "interruptions": status.interruptions + int(interrupted),
        }
    )
