"""The condition Stalled: training that runs and does not get on, and what is done about it.

Steps are what counts as progress; they are seen when the first worker is asked. Both clocks begin
with what the status or the pods tell, so that a restart of the operator does not stop them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from lepton_operator.api.names import ConditionType, FailureClass, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.completion import first_worker
from lepton_operator.reconcile.conditions import with_condition
from lepton_operator.reconcile.failure import Failure, NotYet
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import duration, one_line

FIRST_STEP_FACTOR = 3
FIRST_STEP_LEAST = timedelta(minutes=10)
"""The first step comes after imports, compilation and data; it gets so much longer, and at least
so long."""
NON_FINITE_GRACE = timedelta(seconds=30)
"""Scaled precision has steps without a finite loss, and goes on after them."""
ASK_AGAIN = timedelta(seconds=5)
"""To look again when the first worker's answer is due."""
MAX_NAMED = 5


@dataclass(frozen=True)
class Stall:
    """Why training does not get on."""

    reason: Reason
    message: str
    time_left: timedelta
    """Until the attempt is given up; zero or less: now."""

    @property
    def look_again_in(self) -> timedelta:
        """Not at once: what else goes wrong is settled first."""
        return max(self.time_left, ASK_AGAIN)

    def failure(self, situation: Situation) -> Failure:
        """The attempt's failure. Which of several workers is to blame nobody knows."""
        first = first_worker(situation) if situation.spec.workers == 1 else None
        return Failure(
            FailureClass.STALLED,
            self.reason,
            self.message,
            rank=first.rank if first is not None else None,
            node=first.node if first is not None else None,
        )


def find_stall(status: LeptonTrainingJobStatus, situation: Situation) -> Stall | NotYet | None:
    """Whether training stalls; or when to look whether it does. `status` has the latest
    progress."""
    current = situation.current_job
    if current is None or current.suspended or situation.spec.suspend:
        return None
    return _without_numbers(status, situation) or _without_steps(status, situation)


def _without_numbers(status: LeptonTrainingJobStatus, situation: Situation) -> Stall | None:
    """Metrics that were numbers in this attempt and are none any more."""
    observed, first = situation.observed, first_worker(situation)
    if observed.progress is None or observed.progress_time is None or first is None:
        return None
    if first.running_since is None or observed.progress_time < first.running_since:
        return None  # Of the pod before a suspension.
    known = status.condition(ConditionType.STALLED)
    told = known is not None and known.status == "True" and known.reason == Reason.NON_FINITE
    names = observed.non_finite
    if told and not names:
        # Another replica has told it; what were numbers before its time, this one can't know.
        names = tuple(n for n, v in observed.progress.metrics.items() if v is None)
    if not names:
        return None
    since = known.last_transition_time if known is not None and told else situation.now
    named = ", ".join(names[:MAX_NAMED]) + (", …" if len(names) > MAX_NAMED else "")
    verb = "is" if len(names) == 1 else "are"
    text = one_line(f"{named} {verb} not finite any more", 500)
    return Stall(Reason.NON_FINITE, text, since + NON_FINITE_GRACE - situation.now)


def _without_steps(status: LeptonTrainingJobStatus, situation: Situation) -> Stall | NotYet | None:
    seconds = situation.spec.progress_deadline_seconds
    if seconds is None:
        return None
    asked = situation.observed.asked_time
    limit = timedelta(seconds=seconds)
    progress = status.progress
    begin = progress.last_step_time if progress is not None else None
    if begin is not None and progress is not None:
        text = (
            f"no step for longer than progressDeadlineSeconds ({duration(seconds)});"
            f" the last one was {progress.step or 0:,}"
        )
    else:
        begin = _all_run_since(situation)
        limit = max(FIRST_STEP_FACTOR * limit, FIRST_STEP_LEAST)
        text = f"no first step within {duration(limit.total_seconds())}"
        if situation.observed.progress is None:
            text = f"{text}: the first worker reports none; lepton.report does"
    if begin is None:
        return None
    # Judged by what was last asked, not by the time: there may be an answer that nobody fetched.
    if asked is not None and asked - begin >= limit:
        return Stall(Reason.NO_PROGRESS, text, timedelta(0))
    return NotYet(max(begin + limit - situation.now, ASK_AGAIN))


def _all_run_since(situation: Situation) -> datetime | None:
    """When the last worker's program started; None while one has not."""
    times = {pod.rank: pod.running_since for pod in situation.pods}
    if len(times) < situation.spec.workers:
        return None
    known = [time for time in times.values() if time is not None]
    return max(known) if len(known) == len(times) else None


def with_stall(
    status: LeptonTrainingJobStatus, stall: Stall | NotYet | None, now: datetime
) -> LeptonTrainingJobStatus:
    """The status with the condition Stalled, for jobs that ever stalled."""
    kind = ConditionType.STALLED
    if isinstance(stall, Stall):
        return with_condition(status, kind, True, stall.reason, stall.message, now)
    if status.is_true(kind):
        text = "no sign of a stall"
        return with_condition(status, kind, False, Reason.PROGRESSING, text, now)
    return status


def events(old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus) -> tuple[EventNote, ...]:
    """What is told of a change of the condition."""
    before, after = (status.condition(ConditionType.STALLED) for status in (old, new))
    was = before is not None and before.status == "True"
    if after is None or (after.status == "True") is was:
        return ()
    if was:
        return (EventNote("Normal", Reason.PROGRESSING, after.message),)
    reason = Reason.NON_FINITE if after.reason == Reason.NON_FINITE else Reason.NO_PROGRESS
    return (EventNote("Warning", reason, after.message),)
