"""elastic: another number of workers is a restart from the last checkpoint that costs nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest
from situations import (
    NOW,
    at,
    batch_job,
    condition,
    counted,
    deleted,
    ended,
    failed_job,
    kinds,
    plan_for,
    pod,
    running,
    training_job,
)

from lepton_operator.api.names import ConditionType, FailureClass, Phase, Reason
from lepton_operator.reconcile.plan import Deletion

PAIR = {"jobs": (batch_job(workers=2),), "pods": (pod(0), pod(1))}


def elastic(status, workers=3, **spec):
    """A job that runs with two workers, and is to have another number."""
    return training_job(status, workers=workers, elastic={"min": 1, "max": 4}, **spec)


@pytest.mark.parametrize("workers", [1, 3])
def test_another_number_of_workers_is_another_attempt(workers):
    plan = plan_for(elastic(running(), workers, storage={"claimName": "runs"}), **PAIR)
    assert plan.status.attempt == 2
    assert (plan.status.restarts, plan.status.interruptions) == (0, 0)
    (ended_attempt,) = plan.status.attempts
    assert ended_attempt.failure_class is None
    assert ended_attempt.reason == Reason.RESIZED
    assert f"resized from 2 to {workers} worker" in ended_attempt.message
    assert plan.status.phase is Phase.RESTARTING
    assert [(event.type, event.reason) for event in plan.events] == [("Normal", Reason.RESIZED)]
    assert (plan.create, plan.delete) == ((), ())


def resizing_status():
    """The status after the first step of a resize."""
    return plan_for(elastic(running()), **PAIR).status.to_json_object()


def test_the_old_workers_end_before_the_new_ones_are_made():
    job = elastic(resizing_status())
    waits = plan_for(job, **PAIR)
    assert waits.create == ()
    assert waits.delete == (Deletion("Job", "job-1", "job-uid-1", version="7"),)
    end = {"jobs": (), "pods": (deleted(pod(0)), pod(1))}
    assert plan_for(job, **end).create == ()
    made = plan_for(job).create
    assert kinds(made) == [("Service", "lepton-workers"), ("Job", "job-2")]
    assert made[-1]["spec"]["completions"] == 3


def test_old_workers_that_no_watch_has_told_of_end_first_too():
    job = elastic(resizing_status())
    waits = plan_for(job, jobs=(batch_job(workers=2),))
    assert waits.create == ()
    assert [deletion.name for deletion in waits.delete] == ["job-1"]
    assert waits.again_in == timedelta(0)


def test_a_resize_waits_for_no_backoff_and_breaks_no_row_of_failures():
    failed = {"number": 1, "class": "Application", "endTime": "2026-01-01T11:59:59Z"}
    status = counted(2, attempts=[failed])
    job = elastic(running(2, attempts=[failed]), failurePolicy={"backoffSeconds": 100})
    assert plan_for(elastic(status, failurePolicy={"backoffSeconds": 100})).create == ()
    jobs = (batch_job(2, workers=2),)
    after = plan_for(job, jobs=jobs, pods=(pod(0, 2), pod(1, 2))).status
    again = elastic(after.to_json_object(), failurePolicy={"backoffSeconds": 100})
    assert kinds(plan_for(again, now=at(1)).create)[-1] == ("Job", "job-3")
    lost = elastic(after.to_json_object(), failurePolicy={"backoffSeconds": 100})
    plan = plan_for(lost, jobs=(failed_job(3, attempt=3),), pods=(ended(0, attempt=3),), now=at(20))
    assert len(plan.status.attempts) == 3
    assert plan.status.restarts == 2
    late = elastic(plan.status.to_json_object(), failurePolicy={"backoffSeconds": 100})
    assert plan_for(late, now=at(20 + 199)).create == ()


def test_the_same_failure_around_a_resize_is_still_the_same():
    same = {"class": "Application", "rank": 0, "step": 40, "endTime": "2026-01-01T11:00:00Z"}
    attempts = [
        {**same, "number": 1},
        {"number": 2, "reason": "Resized", "endTime": "2026-01-01T11:10:00Z"},
    ]
    status = running(3, attempts=attempts, progress={"step": 40}, restarts=1)
    plan = plan_for(elastic(status), jobs=(failed_job(attempt=3),), pods=(ended(0, attempt=3),),
                    now=at(30))  # fmt: skip
    assert Reason.REPEATED_FAILURE in [event.reason for event in plan.events]


def test_what_fails_while_it_is_resized_has_failed():
    plan = plan_for(
        elastic(running()), jobs=(failed_job(workers=2),), pods=(ended(0), pod(1)), now=at(30)
    )
    assert plan.status.attempts[-1].failure_class is FailureClass.APPLICATION
    assert plan.status.restarts == 1


def test_a_job_that_rests_gets_its_new_size_and_goes_on_resting():
    held = batch_job(workers=2, suspended=True, suspended_time=NOW)
    plan = plan_for(training_job(running(), workers=3, suspend=True), jobs=(held,))
    assert plan.status.attempt == 2
    job = training_job(plan.status.to_json_object(), workers=3, suspend=True)
    rests = plan_for(job, jobs=(held,))
    assert rests.create == ()
    assert rests.delete == (Deletion("Job", "job-1", "job-uid-1", version="7"),)
    assert rests.status.phase is Phase.SUSPENDED


def test_without_storage_a_resize_warns_that_training_begins_anew():
    plan = plan_for(elastic(running()), **PAIR)
    told = condition(plan, ConditionType.PODS_READY)
    assert told.reason == Reason.RESIZED
    assert "training begins from zero" in told.message
    assert [event.type for event in plan.events] == ["Warning"]
    (kept,) = plan_for(elastic(running(), storage={"claimName": "runs"}), **PAIR).events
    assert kept.type == "Normal"


def test_a_job_with_its_number_of_workers_goes_on():
    plan = plan_for(elastic(running(), workers=2), **PAIR)
    assert plan.status.attempt == 1
    done = replace(batch_job(workers=2), complete=True, finished_time=NOW)
    whole = plan_for(elastic(running()), jobs=(done,), pods=(ended(0, code=0), ended(1, code=0)))
    assert whole.status.phase is Phase.COMPLETE


def test_the_first_attempt_says_how_its_pods_are_found():
    assert plan_for(elastic({})).status.selector == "training.lepton.ai/job-name=job"
