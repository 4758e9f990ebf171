"""decide: from a job, what is there and what time it is, to what is to be done now.

Level-triggered: nothing is remembered but the status and the objects themselves. Calling it twice
with the same input gives the same Plan, and calling it after any part of its own writes leads to
the same end.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from lepton_operator.api import names, shapes
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.names import ConditionType, FailureClass, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.api.validation import InvalidSpec, parse_known, parse_spec
from lepton_operator.reconcile import (
    attempts,
    children,
    cleanup,
    completion,
    deadlines,
    failure,
    gangs,
    manifests,
    memory,
    placement,
    queueing,
    resizing,
    scheduling,
    stalling,
    suspension,
    workers,
)
from lepton_operator.reconcile.conditions import (
    EXISTED,
    WAS_READY,
    ready_reason,
    with_condition,
    with_phase,
    without_detours,
)
from lepton_operator.reconcile.failure import Failure, NotYet
from lepton_operator.reconcile.observed import JobView, Observed
from lepton_operator.reconcile.plan import EventNote, LookUp, Plan
from lepton_operator.reconcile.progress import latest_reward, metrics, progress_status, stale
from lepton_operator.reconcile.settings import Settings
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.stalling import Stall
from lepton_operator.reconcile.text import one_line, plural
from lepton_operator.reconcile.volumes import begins_from_zero, loss_of_progress

AT_ONCE = timedelta(0)
LATE_PODS = timedelta(seconds=2)
"""The controller of a Job that has gone may not have heard of that yet, and make pods of it."""
SOON = timedelta(seconds=2)
"""To look again at what no event may tell of, such as a node that does not answer."""


def decide(job: TrainingJob, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """What is to be done now for one job."""
    now = now.replace(microsecond=0)
    if job.deleting or not job.is_ours:
        return Plan(job.status)
    if job.status.is_true(ConditionType.FINISHED):
        return cleanup.after_the_end(job, observed, settings, now)
    seen = job.status.model_copy(update={"observed_generation": job.generation})
    try:
        # What has begun did so under a version that knew all its fields.
        spec = parse_known(job.spec) if seen.attempt > 0 else parse_spec(job.spec)
    except InvalidSpec as error:
        return fail(job, observed, seen, Reason.INVALID_SPEC, str(error), now)
    if observed.name_taken is not None:
        return fail(job, observed, seen, Reason.NAME_TAKEN, observed.name_taken, now)
    if observed.refused is not None:
        return fail(job, observed, seen, Reason.INVALID_SPEC, observed.refused, now)
    unknown = scheduling.problem(spec, settings) or shapes.problem(spec, settings.shapes)
    spec = shapes.with_shape(spec, settings.shapes)
    situation = Situation(replace(job, status=seen), spec, observed, settings, now)
    # What runs was possible when it began, whatever the administrator has changed since.
    if unknown is not None and situation.current_job is None:
        return fail(job, observed, seen, Reason.INVALID_SPEC, unknown, now)
    return finish_plan(job, situation, advance(situation))


def advance(situation: Situation) -> Plan:
    """The next step of a job that has not finished."""
    status, spec, current = situation.status, situation.spec, situation.current_job
    if status.attempt == 0:
        return begin(situation)
    if current is None:
        if spec.suspend:
            return rest(situation)
        if ready_reason(status) in EXISTED and not status.is_true(ConditionType.SUSPENDED):
            return without_its_job(situation)
        over = deadlines.exceeded(status, situation)
        return give_up(situation, *over) if over is not None else start_attempt(situation)
    if current.complete:
        return complete(situation)
    found = failure.find_failure(situation)
    if isinstance(found, Failure):
        return after_failure(situation, found)
    if found is None and resizing.is_due(situation):
        return resize(situation)
    over = deadlines.exceeded(deadlines.with_clock(status, situation), situation)
    if over is not None:
        return give_up(situation, *over)
    stall = stalling.find_stall(with_what_is_seen(situation), situation)
    if found is None and isinstance(stall, Stall) and stall.time_left <= AT_ONCE:
        return after_failure(situation, stall.failure(situation))
    return keep_running(situation, found, stall)


def begin(situation: Situation) -> Plan:
    """Count the first attempt, unless the job is to rest or to wait for its time."""
    if situation.spec.suspend:
        return rest(situation)
    wait = deadlines.until_start(situation)
    if wait is None:
        return count_first_attempt(situation)
    status = suspension.with_suspension(situation.status, situation)
    reason, text = Reason.WAITING_FOR_START, deadlines.start_text(situation)
    status = with_condition(status, ConditionType.PODS_READY, False, reason, text, situation.now)
    return Plan(status, again_in=wait)


def count_first_attempt(situation: Situation) -> Plan:
    """Count the attempt before anything of it exists; its objects are the next look's."""
    status = situation.status.model_copy(
        update={
            "attempt": 1,
            "start_time": situation.now,
            "selector": f"{names.LABEL_JOB_NAME}={situation.job.name}",
        }
    )
    status = suspension.with_suspension(status, situation)
    status = with_condition(
        status,
        ConditionType.PODS_READY,
        False,
        Reason.STARTING,
        f"starting {plural(situation.spec.workers, 'worker')}",
        situation.now,
    )
    return Plan(status, again_in=AT_ONCE)


def rest(situation: Situation) -> Plan:
    """Suspended with no Job: nothing is made."""
    status = deadlines.with_clock(situation.status, situation)
    status = suspension.with_suspension(status, situation)
    return Plan(
        status,
        delete=(*children.superseded_jobs(situation), *children.superseded_groups(situation)),
        again_in=SOON if situation.pods_in_the_way else None,
    )


def start_attempt(situation: Situation) -> Plan:
    """Make the objects of the counted attempt, once nothing of the last one runs and its backoff
    is over."""
    now, status = situation.now, deadlines.with_clock(situation.status, situation)
    status = suspension.with_suspension(status, situation)
    delete = (*children.superseded_jobs(situation), *children.superseded_groups(situation))
    obstacle = children.in_the_way(situation)
    if obstacle is not None:
        reason = Reason.RESTARTING if status.attempt > 1 else Reason.STARTING
        status = with_condition(status, ConditionType.PODS_READY, False, reason, obstacle, now)
        return Plan(status, delete=delete, again_in=SOON)
    if any(deletion.version is not None for deletion in delete):
        # What has not ended may make pods yet, or have some of which no watch has told, and may
        # turn out not to be deleted.
        return Plan(status, delete=delete, again_in=AT_ONCE)
    start = attempts.start_time(status, situation.spec.failure_policy, situation.job.uid)
    if start is not None and now < start:
        return Plan(status, delete=delete, again_in=start - now)
    observed, vanished = situation.observed, situation.observed.job_vanished_ago
    if vanished is not None and vanished < LATE_PODS:
        return Plan(status, delete=delete, again_in=LATE_PODS - vanished)
    suspects = placement.suspects(situation)
    look_up = LookUp(
        limits=memory.has_grown(status) and observed.limits is None,
        nodes=bool(suspects) and observed.nodes is None,
        pods_of=situation.job.name
        if vanished is not None and not observed.pods_looked_up
        else None,
    )
    if look_up:
        return Plan(status, look_up=look_up)
    if observed.refused_for_now is not None:
        reason, text = Reason.CREATION_REFUSED, observed.refused_for_now
        status = with_condition(status, ConditionType.PODS_READY, False, reason, text, now)
    status, told_of_memory = memory.within_limits(status, situation.spec, observed.limits)
    status, told_of_nodes = placement.with_avoided(status, situation, suspects)
    # What the objects are made of is what the status says.
    situation = situation.with_status(status)
    events = (*told_of_memory, *told_of_nodes)
    return Plan(
        status,
        create=children.missing(situation, with_job=True),
        delete=delete,
        events=events,
        again_in=deadlines.pending_time_left(situation),
    )


def without_its_job(situation: Situation) -> Plan:
    """The attempt's batch Job was there and is not seen any more. To count the attempt as lost is
    to end its pods, so it is asked for first: a cache may lag behind, and a Job that has lost our
    labels is not watched."""
    job, attempt = situation.job, situation.status.attempt
    found = situation.observed.looked_up_job
    if found is None:
        return Plan(situation.status, look_up=LookUp(job=manifests.job_name(job, attempt)))
    if any(view.owner_uid == job.uid and not view.deleting for view in found):
        # To make it again is to find it, and to put its labels back.
        again = manifests.batch_job(job, situation.spec, attempt, situation.settings)
        return Plan(situation.status, create=(again,), again_in=SOON)
    return after_failure(situation, failure.job_deleted(attempt))


def keep_running(
    situation: Situation, waiting: NotYet | None, stall: Stall | NotYet | None
) -> Plan:
    """The attempt goes on, for now: report it, and suspend or resume it as asked."""
    ending = suspension.job_to_end(situation)
    if ending is not None:
        return end_to_rest(situation, ending)
    question = queueing.look_up(situation)
    if question is not None:
        return Plan(situation.status, look_up=question)
    status = deadlines.with_clock(with_what_is_seen(situation), situation)
    status = queueing.with_admission(status, situation)
    status = stalling.with_stall(status, stall, situation.now)
    status = suspension.with_suspension(status, situation)
    change = suspension.change_of_job(situation)
    current = situation.current_job
    differs = current is not None and current.suspended is not situation.spec.suspend
    differs = differs and not gangs.holds(situation.spec)
    again = soonest(
        waiting.look_again_in if waiting is not None else None,
        stall.look_again_in if stall is not None else None,
        SOON if differs and change is None else None,
        deadlines.active_time_left(status, situation) if status.active_since else None,
        deadlines.pending_time_left(situation),
        workers.time_to_end_together(situation),
        queueing.asked_again_in(situation),
    )
    return Plan(
        status,
        create=children.missing(situation, with_job=False),
        apply=(*((change,) if change is not None else ()), *children.outdated(situation)),
        delete=(
            *children.superseded_jobs(situation),
            *children.superseded_groups(situation),
            *children.superseded_slices(situation),
        ),
        again_in=again,
    )


def end_to_rest(situation: Situation, ending: JobView) -> Plan:
    """The job is to rest, and its Job is not ours to suspend: it goes, the attempt stays."""
    status = workers.with_workers(situation.status, situation)
    if status.active_since is not None:
        status = deadlines.with_clock_stopped(status, situation)
    status = with_condition(
        status,
        ConditionType.PODS_READY,
        False,
        Reason.SUSPENDED,
        "workers end, since the job is suspended",
        situation.now,
    )
    return Plan(status, delete=(children.while_it_runs(ending),), again_in=SOON)


def soonest(*waits: timedelta | None) -> timedelta | None:
    """The shortest of the times that are known."""
    return min((wait for wait in waits if wait is not None), default=None)


def with_what_is_seen(situation: Situation) -> LeptonTrainingJobStatus:
    """The status with what the pods are and say now."""
    return with_progress(workers.with_workers(situation.status, situation), situation)


def with_progress(status: LeptonTrainingJobStatus, situation: Situation) -> LeptonTrainingJobStatus:
    """The status with what the first worker last said."""
    said = situation.observed.progress
    if said is None:
        return status
    return status.model_copy(
        update={
            "progress": progress_status(
                said,
                time=_whole_seconds(situation.observed.progress_time),
                trend=situation.observed.trend,
                previous=status.progress,
                from_zero=begins_from_zero(situation.spec),
            ),
            "metrics": metrics(said.metrics) or status.metrics,
            "reward": latest_reward(None, said.metrics) or status.reward,
        }
    )


def complete(situation: Situation) -> Plan:
    """All workers ended well: wait for the last word, then say so."""
    status = with_what_is_seen(situation)
    if completion.may_still_speak(situation):
        return Plan(status, again_in=timedelta(seconds=1))
    status, message = completion.with_outcome(status, situation)
    status = stalling.with_stall(status, None, situation.now)
    status = deadlines.with_clock_stopped(status, situation)
    now, reason = situation.now, Reason.TRAINING_COMPLETE
    for kind, value in (
        (ConditionType.PODS_READY, False),
        (ConditionType.COMPLETE, True),
        (ConditionType.FINISHED, True),
    ):
        status = with_condition(status, kind, value, reason, message, now)
    status = status.model_copy(update={"completion_time": now})
    return Plan(status)


def after_failure(situation: Situation, found: Failure) -> Plan:
    """Note the failed attempt; then count the next one, or fail for good."""
    spec, settings, now = situation.spec, situation.settings, situation.now
    policy = spec.failure_policy
    status = deadlines.with_clock_stopped(with_what_is_seen(situation), situation)
    if found.failure_class is FailureClass.STALLED:
        status = with_condition(
            status, ConditionType.STALLED, True, found.reason, found.message, now
        )
    step = completion.step_reached(situation, status)
    status = status.model_copy(update={"progress": stale(status.progress)})
    uid = situation.job.uid
    status = attempts.with_failed_attempt(status, found, policy, uid, now, step)
    verdict = attempts.judge(status, found, policy, settings)
    if verdict.end is not None:
        reason, message = verdict.end
        return fail(situation.job, situation.observed, status, reason, message, now)
    status = attempts.with_next_attempt(status, free=verdict.free)
    text = f"attempt {status.attempt - 1} failed ({found.failure_class}): {found.message}"
    if found.failure_class is FailureClass.OUT_OF_MEMORY:
        status = memory.with_growth(status, spec)
        if status.memory != situation.status.memory:
            text = f"{text}; each worker of attempt {status.attempt} gets {status.memory} of memory"
    lost = loss_of_progress(spec)
    if lost is not None:
        text = f"{text}; {lost}"
    events = [EventNote("Warning", Reason.ATTEMPT_FAILED, one_line(text, 1000))]
    if verdict.warning is not None:
        text = f"{text}; {verdict.warning}"
        events.append(EventNote("Warning", Reason.REPEATED_FAILURE, verdict.warning))
    start = attempts.start_time(status, policy, uid)
    wait = start - now if start is not None else AT_ONCE
    status = with_condition(status, ConditionType.PODS_READY, False, Reason.RESTARTING, text, now)
    return Plan(
        status,
        events=tuple(events),
        # At least a look at once: the batch Job is to end, and what comes next depends on pods.
        again_in=min(wait, SOON),
    )


def resize(situation: Situation) -> Plan:
    """End the attempt and count one with the number of workers that is asked for now."""
    status = with_what_is_seen(situation)
    if status.active_since is not None:
        status = deadlines.with_clock_stopped(status, situation)
    status, note = resizing.with_new_size(status, situation)
    return Plan(status, events=(note,), again_in=AT_ONCE)


def give_up(situation: Situation, reason: Reason, message: str) -> Plan:
    """The job has failed for good though no attempt of it has."""
    status = deadlines.with_clock_stopped(with_what_is_seen(situation), situation)
    return fail(situation.job, situation.observed, status, reason, message, situation.now)


def fail(
    job: TrainingJob,
    observed: Observed,
    status: LeptonTrainingJobStatus,
    reason: Reason,
    message: str,
    now: datetime,
) -> Plan:
    """The job has failed for good; what still runs of it is stopped."""
    for kind, value in (
        (ConditionType.PODS_READY, False),
        (ConditionType.FAILED, True),
        (ConditionType.FINISHED, True),
    ):
        status = with_condition(status, kind, value, reason, message, now)
    status = with_phase(
        status.model_copy(update={"completion_time": now, "progress": stale(status.progress)})
    )
    return Plan(
        status,
        delete=children.unfinished_jobs(job, observed),
        events=(EventNote("Warning", reason, one_line(message, 1000)),),
    )


def finish_plan(job: TrainingJob, situation: Situation, plan: Plan) -> Plan:
    """The plan with what follows from the difference between the old status and the new: where
    workers run, phase, events, and whether its write may wait."""
    if plan.look_up is not None:
        return plan
    old, new = job.status, without_detours(job.status, with_phase(plan.status))
    if placement.is_due(old, new, situation):
        unknown = placement.unknown_nodes(situation)
        if unknown:
            return Plan(old, look_up=LookUp(regions_of=unknown))
        new = placement.with_nodes(new, situation)
    started = (
        ready_reason(new) in WAS_READY
        and (ready_reason(old) not in WAS_READY)
        and not new.is_true(ConditionType.FINISHED)
    )
    events = [*suspension.events(old, new), *queueing.events(old, new), *stalling.events(old, new)]
    # What goes as it should is in the status; an event is a write more.
    if started and new.attempt > 1:
        count = plural(situation.spec.workers, "worker")
        events.append(
            EventNote("Normal", Reason.ATTEMPT_STARTED, f"attempt {new.attempt}: {count} ready")
        )
    return replace(
        plan,
        status=new,
        events=(*events, *plan.events),
        urgent=is_urgent(old, new),
        starting=workers.come_up(new, situation),
    )


def is_urgent(old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus) -> bool:
    """Whether more moved than progress and counts of workers.

    That workers are no longer ready may wait: mostly they are about to be done, and what follows
    is urgent by itself.
    """
    ready = new.is_true(ConditionType.PODS_READY) and not old.is_true(ConditionType.PODS_READY)
    return ready or _essence(old) != _essence(new)


def _essence(status: LeptonTrainingJobStatus) -> object:
    return (
        status.phase,
        ready_reason(status) == Reason.CREATION_REFUSED,
        status.attempt,
        status.observed_generation,
        [(c.type, c.status) for c in status.conditions if c.type != ConditionType.PODS_READY],
        len(status.attempts),
        status.memory,
        status.placement,
    )


def _whole_seconds(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=0) if time is not None else None
