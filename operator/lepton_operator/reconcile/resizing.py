"""Another number of workers for a job that has begun: a new attempt from the last checkpoint."""

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import Attempt, LeptonTrainingJobStatus
from lepton_operator.reconcile import attempts, completion
from lepton_operator.reconcile.conditions import with_condition
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.progress import stale
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import plural
from lepton_operator.reconcile.volumes import loss_of_progress


def is_due(situation: Situation) -> bool:
    """Whether the current attempt has another number of workers than is asked for. What is about
    to fail by itself gets the right number with its next attempt."""
    current = situation.current_job
    return current is not None and not current.over and current.workers != situation.spec.workers


def with_new_size(
    status: LeptonTrainingJobStatus, situation: Situation
) -> tuple[LeptonTrainingJobStatus, EventNote]:
    """The status with the attempt ended and the next one counted, and what to tell. It costs
    neither restarts nor interruptions, and nothing waits for it."""
    current, spec, now = situation.current_job, situation.spec, situation.now
    assert current is not None
    text = f"resized from {current.workers} to {plural(spec.workers, 'worker')}"
    ended = Attempt(
        number=status.attempt,
        start_time=attempts.start_time(status, spec.failure_policy, situation.job.uid),
        end_time=now,
        reason=str(Reason.RESIZED),
        message=text,
        step=completion.step_reached(situation, status),
        memory=status.memory,
    )
    status = attempts.with_ended(status, ended).model_copy(
        update={"attempt": status.attempt + 1, "progress": stale(status.progress)}
    )
    lost = loss_of_progress(spec)
    if lost is not None:
        text = f"{text}; {lost}"
    status = with_condition(status, ConditionType.PODS_READY, False, Reason.RESIZED, text, now)
    return status, EventNote("Normal" if lost is None else "Warning", Reason.RESIZED, text)
