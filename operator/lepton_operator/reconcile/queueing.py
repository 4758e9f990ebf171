"""The condition Admitted: whether a queue of Kueue lets the attempt run, and what Kueue says of it.

Kueue holds a Job by its `suspend`, and alone takes that away. Why it does not is in the conditions
of the Workload that it makes of the Job, which is read now and then while the Job waits.
https://kueue.sigs.k8s.io/docs/concepts/workload/
"""

from datetime import timedelta

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.scheduling import Gang
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.conditions import with_condition
from lepton_operator.reconcile.gangs import holds
from lepton_operator.reconcile.observed import NoWorkload, Told, WorkloadView
from lepton_operator.reconcile.plan import EventNote, LookUp, Wait
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import one_line

ASKED_AFTER = timedelta(seconds=5)
"""A Job that is admitted at once needs no word, and Kueue needs a moment for one."""
ASKED_EVERY = timedelta(seconds=30)
LONGEST_WORD = 400
"""Of one condition; Kueue's may have 32,768 characters, a list of all flavors that won't do."""


def is_queued(situation: Situation) -> bool:
    """Whether the queue keeps the attempt from running, or has sent it back."""
    current = situation.current_job
    return (
        holds(situation.spec)
        and current is not None
        and current.suspended
        and not situation.spec.suspend
    )


def look_up(situation: Situation) -> LookUp | None:
    """What Kueue is to be asked, if anything."""
    wait = _wait(situation)
    if wait is None or situation.observed.workload is not None:
        return None
    return LookUp(wait=wait) if situation.now >= wait.since + ASKED_AFTER else None


def asked_again_in(situation: Situation) -> timedelta | None:
    """When Kueue is to be asked next; None while there is nothing to ask."""
    wait = _wait(situation)
    if wait is None:
        return None
    left = wait.since + ASKED_AFTER - situation.now
    return left if left > timedelta(0) else ASKED_EVERY


def _wait(situation: Situation) -> Wait | None:
    """The wait that Kueue can say something of; it begins when the Job controller sees it."""
    current = situation.current_job
    if current is None or not is_queued(situation):
        return None
    if Gang.KUEUE not in situation.settings.gangs:
        return None
    return Wait(current.uid, current.suspended_time or situation.now)


def with_admission(
    status: LeptonTrainingJobStatus, situation: Situation
) -> LeptonTrainingJobStatus:
    """The status with the condition Admitted, of jobs that wait in a queue of Kueue."""
    current, queue, now = situation.current_job, situation.spec.scheduling.queue, situation.now
    if not holds(situation.spec) or current is None or situation.spec.suspend:
        return status
    if not is_queued(situation):
        text = f"admitted by queue {queue}"
        return with_condition(status, ConditionType.ADMITTED, True, Reason.ADMITTED, text, now)
    text = f"Job {current.name} waits in queue {queue} of Kueue"
    why = _why(situation.observed.workload)
    if why is not None:
        text = f"{text}: {why}"
    status = with_condition(status, ConditionType.ADMITTED, False, Reason.QUEUED, text, now)
    return with_condition(status, ConditionType.PODS_READY, False, Reason.QUEUED, text, now)


def _why(workload: WorkloadView | NoWorkload | None) -> str | None:
    """Why the Job waits, in Kueue's words where there are any."""
    if workload is None:
        return None
    if workload is NoWorkload.NOT_MADE:
        return f"{workload}; does it run, and look after Jobs of this namespace?"
    if isinstance(workload, NoWorkload):
        return str(workload)
    told = workload.conditions
    finished, evicted = told.get("Finished"), told.get("Evicted")
    reserved, admitted = told.get("QuotaReserved"), told.get("Admitted")
    if finished is not None and finished.true:
        return f"finished, as Kueue has it: {_short(finished)}"
    words = [f"sent back: {_short(evicted)}"] if evicted is not None and evicted.true else []
    if reserved is None:
        words = words or ["Kueue has not looked at it yet"]
    elif not reserved.true:
        # What sent a Job back is often told once more, as why it waits.
        if not words or evicted is None or reserved.message != evicted.message:
            words.append(_short(reserved))
    elif admitted is not None and admitted.true:
        words.append("admitted, and about to start")
    else:
        checks = one_line(", ".join(workload.checks), LONGEST_WORD) or "none is named"
        words.append(f"it has its quota, and waits for admission checks ({checks})")
    return "; ".join(words)


def _short(told: Told) -> str:
    return one_line(str(told), LONGEST_WORD)


def events(old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus) -> tuple[EventNote, ...]:
    """What is told of a change of the condition."""
    before, after = (status.condition(ConditionType.ADMITTED) for status in (old, new))
    if after is None or (before is not None and before.status == after.status):
        return ()
    return (EventNote("Normal", Reason(after.reason), after.message),)
