"""When training counts as stalled, and what follows."""

from datetime import timedelta

import pytest
from situations import at, batch_job, ended, plan_for, pod, running, training_job

from lepton.spec.report import LastWord, Progress
from lepton_operator.api.names import ConditionType, FailureClass, Phase, Reason
from lepton_operator.reconcile.stalling import FIRST_STEP_LEAST

LIMIT = {"progressDeadlineSeconds": 60}
STEP_AT_0 = {"step": 40, "summary": "40 steps", "lastStepTime": "2026-01-01T12:00:00Z"}


def stepped(**more):
    """The status of a job whose step moved at the beginning of time."""
    return running(progress=STEP_AT_0, **more)


def look(job, seconds, *pods, asked=None, step=40, **observed):
    """A look at a job that reports this step, so many seconds later."""
    observed.setdefault("progress", Progress(step=step))
    return plan_for(
        job,
        now=at(seconds),
        jobs=(batch_job(),),
        pods=pods or (pod(0),),
        progress_time=at(seconds),
        asked_time=at(seconds if asked is None else asked),
        **observed,
    )


def stalled(plan):
    """Status and reason of the condition Stalled."""
    told = plan.status.condition(ConditionType.STALLED)
    return (told.status, told.reason) if told is not None else None


def test_an_attempt_without_a_step_for_its_deadline_has_failed():
    job = training_job(stepped(), **LIMIT)
    early = look(job, 59)
    assert stalled(early) is None
    assert early.again_in == timedelta(seconds=5)
    plan = look(job, 60)
    (attempt,) = plan.status.attempts
    assert attempt.failure_class is FailureClass.STALLED
    assert attempt.reason == Reason.NO_PROGRESS
    assert attempt.message == (
        "no step for longer than progressDeadlineSeconds (1m); the last one was 40"
    )
    assert (attempt.rank, attempt.node, attempt.step) == (0, "node-0", 40)
    assert stalled(plan) == ("True", "NoProgress")
    assert [e.reason for e in plan.events] == [Reason.NO_PROGRESS, Reason.ATTEMPT_FAILED]
    assert (plan.status.attempt, plan.status.phase) == (2, Phase.RESTARTING)


def test_which_of_several_workers_hangs_is_not_guessed():
    job = training_job(stepped(), workers=2, **LIMIT)
    (attempt,) = look(job, 60, pod(0), pod(1)).status.attempts
    assert (attempt.rank, attempt.node) == (None, None)


def test_a_step_in_time_is_progress():
    job = training_job(stepped(), **LIMIT)
    plan = look(job, 60, step=41)
    assert plan.status.attempts == []
    assert plan.status.progress.last_step_time == at(60)
    assert plan.again_in == timedelta(seconds=60)


def test_an_answer_that_nobody_fetched_is_no_stall():
    """After a restart of the operator, or when it is late."""
    job = training_job(stepped(), **LIMIT)
    assert look(job, 600, asked=59).status.attempts == []
    plan = plan_for(job, now=at(600), jobs=(batch_job(),), pods=(pod(0),))
    assert plan.status.attempts == []
    assert plan.again_in == timedelta(seconds=5)


def test_a_worker_that_does_not_answer_any_more_has_no_steps():
    job = training_job(stepped(), **LIMIT)
    plan = plan_for(
        job,
        now=at(60),
        jobs=(batch_job(),),
        pods=(pod(0),),
        progress=Progress(step=40),
        progress_time=at(1),
        asked_time=at(60),
    )
    assert len(plan.status.attempts) == 1


FIRST = FIRST_STEP_LEAST.total_seconds()


def test_the_first_step_gets_longer():
    job = training_job(running(), **LIMIT)
    begun = pod(0, running_since=at(0))
    assert look(job, FIRST - 1, begun, step=0).status.attempts == []
    (attempt,) = look(job, FIRST, begun, step=0).status.attempts
    assert attempt.message == "no first step within 10m"
    patient = training_job(running(), progressDeadlineSeconds=1000)
    assert look(patient, 2999, begun, step=0).status.attempts == []
    assert len(look(patient, 3000, begun, step=0).status.attempts) == 1


def test_a_program_that_reports_nothing_is_told_how():
    job = training_job(running(), **LIMIT)
    plan = look(job, FIRST, pod(0, running_since=at(0)), progress=None)
    assert plan.status.attempts[0].message == (
        "no first step within 10m: the first worker reports none; lepton.report does"
    )


def test_the_first_step_is_waited_for_from_the_last_workers_start():
    job = training_job(running(), workers=2, **LIMIT)
    pods = (pod(0, running_since=at(0)), pod(1, running_since=at(100)))
    assert look(job, FIRST + 99, *pods, step=0).status.attempts == []
    assert len(look(job, FIRST + 100, *pods, step=0).status.attempts) == 1
    waiting = pod(1, phase="Pending", running_since=None)
    assert look(job, 9999, pods[0], waiting, step=0).status.attempts == []
    assert look(job, 9999, pods[0], step=0).status.attempts == []


def test_a_job_without_the_deadline_may_take_its_time():
    assert look(training_job(stepped()), 10**6).status.attempts == []


def test_a_suspended_job_stands_still_by_right():
    job = training_job(stepped(), suspend=True, **LIMIT)
    resting = batch_job(suspended=True)
    plan = plan_for(job, now=at(999), jobs=(resting,), asked_time=at(999))
    assert plan.status.attempts == []
    assert plan.status.progress.last_step_time is None
    again = training_job(plan.status.to_json_object(), **LIMIT)
    resumed = look(again, 1010, pod(0, running_since=at(1000)))
    assert resumed.status.attempts == []


def test_a_failure_that_is_settling_goes_before_a_stall():
    job = training_job(stepped(), workers=2, **LIMIT)
    plan = look(job, 60, ended(1, seconds=59), pod(0))
    assert plan.status.attempts == []
    assert stalled(plan) == ("True", "NoProgress")


def test_a_rule_can_make_a_stall_the_end():
    rules = [{"class": "Stalled", "action": "Fail"}]
    job = training_job(stepped(), failurePolicy={"rules": rules}, **LIMIT)
    plan = look(job, 60)
    assert plan.status.phase is Phase.FAILED
    assert plan.status.reason == "FailedByRule"
    assert stalled(plan) == ("True", "NoProgress")


def test_stalls_count_towards_the_restarts():
    job = training_job(stepped(), failurePolicy={"maxRestarts": 0}, **LIMIT)
    assert look(job, 60).status.reason == "MaxRestartsExceeded"


# Numbers that are none

NAN = {"progress": Progress(step=41, metrics={"loss": None}), "non_finite": ("loss",)}


def test_a_metric_that_is_nan_is_told_at_once_and_ends_the_attempt_when_it_stays():
    job = training_job(stepped())
    first = look(job, 10, **NAN)
    assert stalled(first) == ("True", "NonFiniteMetrics")
    assert first.urgent
    (event,) = first.events
    assert (event.type, event.reason) == ("Warning", Reason.NON_FINITE)
    assert event.message == "loss is not finite any more"
    assert first.again_in == timedelta(seconds=30)
    job = training_job(first.status.to_json_object())
    assert look(job, 39, **NAN).status.attempts == []
    plan = look(job, 40, **NAN)
    (attempt,) = plan.status.attempts
    assert (attempt.failure_class, attempt.reason) == (FailureClass.STALLED, "NonFiniteMetrics")
    assert attempt.step == 41


def test_a_metric_that_recovers_is_told_and_nothing_follows():
    first = look(training_job(stepped()), 10, **NAN)
    job = training_job(first.status.to_json_object())
    plan = look(job, 39, progress=Progress(step=42, metrics={"loss": 1.0}))
    assert stalled(plan) == ("False", "Progressing")
    assert [e.reason for e in plan.events] == [Reason.PROGRESSING]


def test_another_replica_goes_on_where_the_first_one_told_of_it():
    first = look(training_job(stepped()), 10, **NAN)
    job = training_job(first.status.to_json_object())
    plan = look(job, 40, progress=NAN["progress"])
    assert len(plan.status.attempts) == 1


@pytest.mark.parametrize("names", [("a", "b"), tuple("abcdefgh")])
def test_several_are_told_and_many_are_cut(names):
    plan = look(training_job(stepped()), 10, progress=Progress(step=1), non_finite=names)
    told = plan.status.condition(ConditionType.STALLED).message
    expected = "a, b" if len(names) == 2 else "a, b, c, d, e, …"
    assert told == f"{expected} are not finite any more"


def test_what_a_pod_said_before_a_suspension_says_nothing_of_the_next():
    fresh = pod(0, running_since=at(60))
    plan = plan_for(
        training_job(stepped()),
        now=at(61),
        jobs=(batch_job(),),
        pods=(fresh,),
        progress_time=at(50),
        **NAN,
    )
    assert stalled(plan) is None


def test_the_end_leaves_no_stall_behind():
    job = training_job(look(training_job(stepped()), 10, **NAN).status.to_json_object())
    done = batch_job(complete=True, finished_time=at(20))
    words = {"pod-uid-1-0": LastWord()}
    plan = plan_for(
        job, now=at(20), jobs=(done,), pods=(ended(0, code=0),), last_words=words, **NAN
    )
    assert plan.status.phase is Phase.COMPLETE
    assert stalled(plan) == ("False", "Progressing")
