"""The condition Admitted: whether a queue of Kueue lets the attempt run.

Kueue holds a Job by its `suspend`, and alone takes that away; nothing of Kueue's own is read.
"""

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.conditions import with_condition
from lepton_operator.reconcile.gangs import holds
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.situation import Situation


def is_queued(situation: Situation) -> bool:
    """Whether the queue keeps the attempt from running, or has sent it back."""
    current = situation.current_job
    return (
        holds(situation.spec)
        and current is not None
        and current.suspended
        and not situation.spec.suspend
    )


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
    text = f"Kueue keeps Job {current.name} suspended until queue {queue} has room for all workers"
    status = with_condition(status, ConditionType.ADMITTED, False, Reason.QUEUED, text, now)
    return with_condition(status, ConditionType.PODS_READY, False, Reason.QUEUED, text, now)


def events(old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus) -> tuple[EventNote, ...]:
    """What is told of a change of the condition."""
    before, after = (status.condition(ConditionType.ADMITTED) for status in (old, new))
    if after is None or (before is not None and before.status == after.status):
        return ()
    return (EventNote("Normal", Reason(after.reason), after.message),)
