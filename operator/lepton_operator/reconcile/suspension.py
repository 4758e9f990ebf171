"""Suspending and resuming: the attempt stays, its pods go and come."""

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile import gangs
from lepton_operator.reconcile.conditions import with_condition
from lepton_operator.reconcile.manifests import Manifest, suspension
from lepton_operator.reconcile.observed import JobView
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.progress import stale
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.volumes import loss_of_progress


def change_of_job(situation: Situation) -> Manifest | None:
    """What is to be applied to the current Job so that it is suspended, or not, as asked."""
    current, wanted = situation.current_job, situation.spec.suspend
    if gangs.holds(situation.spec):
        return None
    if current is None or current.suspended is wanted or current.over:
        return None
    if not wanted and any(pod.deleting for pod in situation.pods):
        # In a Job that runs, the end of a pod that we asked to end would be a failure.
        return None
    return suspension(current, wanted)


def job_to_end(situation: Situation) -> JobView | None:
    """The current Job, if it is to go so that the job rests: Kueue would start a Job again that
    it has admitted and somebody else suspended. The attempt stays and gets another Job later."""
    ends = situation.spec.suspend and gangs.holds(situation.spec)
    return situation.current_job if ends else None


def at_rest(situation: Situation) -> bool:
    """Whether the current Job is suspended, by whomever, and nothing runs."""
    current = situation.current_job
    return current is not None and current.suspended and not situation.pods_in_the_way


def is_suspended(situation: Situation) -> bool:
    """Whether the job is to rest and nothing of it runs."""
    current = situation.current_job
    stopped = current is None or current.suspended
    return situation.spec.suspend and stopped and not situation.pods_in_the_way


def with_suspension(
    status: LeptonTrainingJobStatus, situation: Situation
) -> LeptonTrainingJobStatus:
    """The status with the condition Suspended, for jobs that were ever suspended."""
    now, kind = situation.now, ConditionType.SUSPENDED
    if is_suspended(situation):
        status = status.model_copy(update={"progress": stale(status.progress)})
        message = "suspended: no workers run until spec.suspend is false"
        lost = loss_of_progress(situation.spec)
        if lost is not None and status.attempt > 0:
            message = f"{message}; {lost}"
        status = with_condition(status, kind, True, Reason.SUSPENDED, message, now)
        message = "no workers run while the job is suspended"
        return with_condition(
            status, ConditionType.PODS_READY, False, Reason.SUSPENDED, message, now
        )
    if status.is_true(kind) and not situation.spec.suspend:
        return with_condition(status, kind, False, Reason.RESUMED, "resumed", now)
    return status


def events(old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus) -> tuple[EventNote, ...]:
    """What is told of a change of the condition."""
    before, after = (status.is_true(ConditionType.SUSPENDED) for status in (old, new))
    if after and not before:
        return (EventNote("Normal", Reason.SUSPENDED, "suspended; no workers run"),)
    if before and not after:
        return (EventNote("Normal", Reason.RESUMED, "resumed"),)
    return ()
