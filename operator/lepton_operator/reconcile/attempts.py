"""Counting attempts: what a failure costs, when the next attempt starts, and when there is none."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from lepton_operator.api.failure_policy import FailureAction, FailurePolicy, FailureRule
from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.status import MAX_ATTEMPTS_LISTED, Attempt, LeptonTrainingJobStatus
from lepton_operator.reconcile.failure import Failure
from lepton_operator.reconcile.settings import Settings
from lepton_operator.reconcile.text import plural

LONGEST_BACKOFF = timedelta(minutes=10)
GOOD_RUN = timedelta(minutes=10)
"""An attempt that ran for so long was no failure to start: backoff begins anew after it."""
JITTER = 0.25
"""By how much of itself a backoff may be longer."""
MAX_REPETITIONS = 3
"""Attempts that one rank may fail at one step: the second may be bad luck, the third is not."""


@dataclass(frozen=True)
class Verdict:
    """What follows from a failed attempt."""

    end: tuple[Reason, str] | None = None
    """Why there is no further attempt, as reason and message; None when there is one."""
    free: bool = False
    """Whether the restart leaves maxRestarts alone."""
    warning: str | None = None
    """What is to be told beyond the failure itself, when there is another attempt."""


def counted_time(status: LeptonTrainingJobStatus) -> datetime | None:
    """When the current attempt was counted."""
    return status.attempts[-1].end_time if status.attempts else status.start_time


def start_time(
    status: LeptonTrainingJobStatus, policy: FailurePolicy, identity: str
) -> datetime | None:
    """When the current attempt may start: when it was counted, and the backoff after that.

    Read from the status alone, so that it survives a restart of the operator.
    """
    counted = counted_time(status)
    return None if counted is None else counted + backoff(status, policy, identity)


def backoff(status: LeptonTrainingJobStatus, policy: FailurePolicy, identity: str) -> timedelta:
    """backoffSeconds, doubled for each further failure in a row, at most ten minutes; and up to a
    quarter longer, by an amount that depends on `identity` (the job's UID) and the attempt.

    A first interruption by the infrastructure is not the program's fault: no backoff.
    """
    if not status.attempts or not _failed(status.attempts[-1]):
        return timedelta(0)
    in_a_row = 0
    for attempt in reversed(status.attempts):
        in_a_row += _failed(attempt)
        if _ran(attempt) >= GOOD_RUN:
            break
    if status.attempts[-1].failure_class == FailureClass.INFRASTRUCTURE:
        in_a_row -= 1
    if in_a_row == 0:
        return timedelta(0)
    wanted = timedelta(seconds=policy.backoff_seconds * 2 ** min(in_a_row - 1, 16))
    seconds = min(wanted, LONGEST_BACKOFF).total_seconds()
    return timedelta(seconds=round(seconds * (1 + JITTER * _share(identity, status.attempt))))


def _share(identity: str, attempt: int) -> float:
    """A number from 0 to 1 that is always the same for this attempt of this job."""
    digest = hashlib.sha256(f"{identity}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


def _failed(attempt: Attempt) -> bool:
    """Whether it failed, and did not end because the job was resized."""
    return attempt.failure_class is not None


def _ran(attempt: Attempt) -> timedelta:
    if attempt.start_time is None or attempt.end_time is None:
        return timedelta(0)
    return attempt.end_time - attempt.start_time


def judge(
    status: LeptonTrainingJobStatus, failure: Failure, policy: FailurePolicy, settings: Settings
) -> Verdict:
    """What follows from the failure, which is the last of `status.attempts`.

    The first rule that fits decides. Without one, interruptions are free, and a failure that came
    again and again at the same place ends the job before the budget does.
    """
    if failure.failure_class is FailureClass.INVALID:
        return Verdict(end=(failure.reason, failure.message))
    index, rule = next(
        ((i, rule) for i, rule in enumerate(policy.rules) if _fits(rule, failure)), (0, None)
    )
    if rule is not None and rule.action is FailureAction.FAIL:
        text = f"failurePolicy.rules[{index}] says Fail: {failure.message}"
        return Verdict(end=(Reason.FAILED_BY_RULE, text))
    if rule is not None:
        free, times = rule.action is FailureAction.RESTART_FREE, 1
    else:
        free = failure.failure_class is FailureClass.INFRASTRUCTURE
        times = repetitions(status)
    last = status.attempts[-1]
    if times >= MAX_REPETITIONS:
        text = f"rank {last.rank} failed at step {last.step} in {times} attempts"
        return Verdict(end=(Reason.REPEATED_FAILURE, f"{text}; at last: {failure.message}"))
    warning = None
    if times > 1:
        warning = (
            f"rank {last.rank} failed at step {last.step} in {times} attempts;"
            f" after {MAX_REPETITIONS} the job fails"
        )
    return Verdict(_exhausted(status, failure, policy, settings, free=free), free, warning)


def _fits(rule: FailureRule, failure: Failure) -> bool:
    if rule.failure_class is None:
        if failure.failure_class is FailureClass.INFRASTRUCTURE:
            return False
    elif rule.failure_class is not failure.failure_class:
        return False
    return rule.exit_codes is None or failure.exit_code in rule.exit_codes


def repetitions(status: LeptonTrainingJobStatus) -> int:
    """In how many attempts in a row the last one's rank failed at the last one's step, itself
    included. Interruptions between them tell nothing. Before the first step it is not counted:
    what a program waits for at its start may come. Nor are attempts with another amount of memory:
    with more of it the program may come further."""
    last = status.attempts[-1]
    if last.rank is None or not last.step:
        return 1
    times, place = 0, (last.rank, last.step, last.memory)
    for attempt in reversed(status.attempts):
        if attempt.failure_class is FailureClass.INFRASTRUCTURE or not _failed(attempt):
            continue
        if (attempt.rank, attempt.step, attempt.memory) != place:
            break
        times += 1
    return max(times, 1)


def _exhausted(
    status: LeptonTrainingJobStatus,
    failure: Failure,
    policy: FailurePolicy,
    settings: Settings,
    *,
    free: bool,
) -> tuple[Reason, str] | None:
    """Whether the budget that the restart would be taken from is used up."""
    if free:
        if status.interruptions < settings.max_interruptions:
            return None
        return (
            Reason.MAX_INTERRUPTIONS_EXCEEDED,
            f"restarted {plural(settings.max_interruptions, 'time')} beside maxRestarts, which is"
            f" the operator's limit; at last: {failure.message}",
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
    identity: str,
    now: datetime,
    step: int | None,
) -> LeptonTrainingJobStatus:
    """The status with the current attempt among those that failed."""
    ended = Attempt(
        number=status.attempt,
        start_time=start_time(status, policy, identity),
        end_time=now,
        failure_class=failure.failure_class,
        reason=str(failure.reason),
        message=failure.message,
        rank=failure.rank,
        exit_code=failure.exit_code,
        node=failure.node,
        step=step,
        memory=status.memory,
    )
    return with_ended(status, ended)


def with_ended(status: LeptonTrainingJobStatus, ended: Attempt) -> LeptonTrainingJobStatus:
    """The status with one more attempt among those that ended."""
    attempts = [*status.attempts, ended][-MAX_ATTEMPTS_LISTED:]
    return status.model_copy(update={"attempts": attempts})


def with_next_attempt(status: LeptonTrainingJobStatus, *, free: bool) -> LeptonTrainingJobStatus:
    """The status with one more attempt counted, before anything of it exists."""
    return status.model_copy(
        update={
            "attempt": status.attempt + 1,
            "restarts": status.restarts + 1,
            "interruptions": status.interruptions + int(free),
        }
    )
