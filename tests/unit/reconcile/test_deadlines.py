"""When a job may begin, how long it may run and wait, and when it goes."""

from datetime import timedelta

import pytest
from situations import (
    NOW,
    at,
    batch_job,
    counted,
    deleted,
    ended,
    failed_job,
    is_true,
    kinds,
    plan_for,
    pod,
    running,
    training_job,
)

from lepton_operator.api.names import ConditionType, Phase, Reason
from lepton_operator.reconcile.settings import Settings


def failed(plan):
    """Reason and message of the Failed condition; None while there is none."""
    told = plan.status.condition(ConditionType.FAILED)
    return (told.reason, told.message) if told is not None else None


# startAt


def test_a_job_waits_for_its_time_and_says_until_when():
    job = training_job(startAt="2026-01-01T14:00:00+01:00")
    plan = plan_for(job)
    assert (plan.status.phase, plan.status.attempt) == (Phase.PENDING, 0)
    told = plan.status.condition(ConditionType.PODS_READY)
    assert (told.reason, told.message) == ("WaitingForStart", "starts at 2026-01-01T13:00:00Z")
    assert plan.again_in == timedelta(hours=1)
    assert plan.create == ()
    again = plan_for(training_job(plan.status.to_json_object(), **job.spec), now=at(60))
    assert again.status == plan.status
    assert plan_for(job, now=at(3600)).status.attempt == 1


def test_a_time_that_is_past_is_no_reason_to_wait():
    assert plan_for(training_job(startAt="2020-01-01T00:00:00Z")).status.attempt == 1


def test_a_suspended_job_rests_though_its_time_has_come():
    job = training_job(startAt="2020-01-01T00:00:00Z", suspend=True)
    assert plan_for(job).status.phase is Phase.SUSPENDED


# activeDeadlineSeconds

LIMITED = {"activeDeadlineSeconds": 100}


def limited(status=None, **more):
    return training_job(status or running(), **LIMITED, **more)


def test_the_clock_begins_with_the_first_pod_that_runs():
    pods = (pod(0, running_since=at(-20)), pod(1, running_since=at(-30)))
    plan = plan_for(limited(workers=2), jobs=(batch_job(),), pods=pods)
    assert plan.status.active_since == at(-30)
    assert plan.again_in == timedelta(seconds=70)
    assert not plan.urgent


def test_the_clock_does_not_run_while_pods_wait():
    waiting = pod(0, phase="Pending", ready=False, running_since=None)
    plan = plan_for(limited(counted()), jobs=(batch_job(),), pods=(waiting,), now=at(9999))
    assert plan.status.active_since is None
    assert plan.status.active_seconds is None


def test_what_ran_before_counts_and_what_lay_between_does_not():
    status = running(2, activeSeconds=60, activeSince="2026-01-01T11:59:30Z")
    pods = (pod(0, attempt=2, owner_uid="job-uid-2"),)
    plan = plan_for(limited(status), jobs=(batch_job(2),), pods=pods)
    assert plan.again_in == timedelta(seconds=10)
    plan = plan_for(limited(status), jobs=(batch_job(2),), pods=pods, now=at(10))
    assert failed(plan) == ("DeadlineExceeded", "pods have run for activeDeadlineSeconds (1m40s)")
    assert (plan.status.active_seconds, plan.status.active_since) == (100, None)
    assert [(d.kind, d.name) for d in plan.delete] == [("Job", "job-2")]
    assert plan.status.attempts == []


def test_an_attempt_that_failed_adds_the_time_until_its_last_pod_ended():
    status = running(activeSeconds=5, activeSince="2026-01-01T11:59:30Z")
    pods = (ended(0, seconds=-10), ended(1, seconds=-5))
    plan = plan_for(limited(status, workers=2), jobs=(failed_job(),), pods=pods, now=at(60))
    assert plan.status.active_seconds == 5 + 25
    assert plan.status.active_since is None


def test_an_attempt_that_nobody_saw_running_is_counted_by_what_its_pods_tell():
    pods = (ended(0, seconds=-10, running_since=at(-40)),)
    plan = plan_for(limited(counted()), jobs=(failed_job(),), pods=pods, now=at(60))
    assert plan.status.active_seconds == 30


def test_no_attempt_starts_when_the_time_is_used_up():
    job = limited(counted(2, activeSeconds=100))
    plan = plan_for(job, jobs=(failed_job(),))
    assert failed(plan)[0] == "DeadlineExceeded"
    assert plan.create == ()


def test_suspension_stops_the_clock_when_the_batch_job_did():
    status = running(activeSeconds=5, activeSince="2026-01-01T11:59:30Z")
    resting = batch_job(suspended=True, suspended_time=at(-10))
    plan = plan_for(limited(status, suspend=True), jobs=(resting,), now=at(500))
    assert (plan.status.active_seconds, plan.status.active_since) == (25, None)
    again = plan_for(
        limited(plan.status.to_json_object(), suspend=True), jobs=(resting,), now=at(900)
    )
    assert again.status == plan.status
    ending = plan_for(limited(status, suspend=True), jobs=(resting,), pods=(deleted(pod(0)),))
    assert ending.status.active_since == at(-30)


def test_a_job_whose_batch_job_went_just_before_it_was_suspended_rests_without_a_clock():
    status = running(activeSeconds=5, activeSince="2026-01-01T11:59:30Z")
    ending = plan_for(limited(status, suspend=True), pods=(deleted(pod(0)),))
    assert (ending.status.active_seconds, ending.status.active_since) == (5, at(-30))
    rested = plan_for(limited(status, suspend=True), now=at(3))
    assert (rested.status.active_seconds, rested.status.active_since) == (38, None)
    later = plan_for(limited(rested.status.to_json_object(), suspend=True), now=at(900))
    assert later.status == rested.status
    resumed = plan_for(limited(later.status.to_json_object()), now=at(905))
    assert failed(resumed) is None
    assert kinds(resumed.create) == [("Job", "job-1")]


def test_the_clock_does_not_run_until_a_batch_job_that_went_is_made_again():
    status = counted(2, activeSeconds=5, activeSince="2026-01-01T11:59:30Z")
    plan = plan_for(limited(status), now=at(10))
    assert kinds(plan.create) == [("Job", "job-2")]
    assert (plan.status.active_seconds, plan.status.active_since) == (45, None)


def test_a_job_without_the_deadline_keeps_no_clock():
    plan = plan_for(training_job(running()), jobs=(batch_job(),), pods=(pod(0),))
    assert (plan.status.active_since, plan.status.active_seconds) == (None, None)


# pendingDeadlineSeconds


def pending(status=None, **more):
    return training_job(status or counted(), pendingDeadlineSeconds=90, **more)


UNPLACED = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (
            {"unschedulable": UNPLACED, "node": None},
            "rank 1 can't be placed: none of 3 nodes will do: not enough free nvidia.com/gpu (3)",
        ),
        (
            {"waiting_reason": "ContainerCreating"},
            "rank 1 waits on node-1: ContainerCreating",
        ),
        (
            {"waiting_reason": "ImagePullBackOff", "waiting_message": "slow registry"},
            "rank 1 waits on node-1: ImagePullBackOff: slow registry",
        ),
        ({"node": None}, "rank 1 waits for a node"),
        ({}, "rank 1 waits for its container to start on node-1"),
    ],
)
def test_a_job_that_waits_too_long_fails_with_what_it_waits_for(told, why):
    stuck = pod(1, phase="Pending", ready=False, running_since=None, started_time=at(29), **told)
    job, batch = pending(workers=2), batch_job(started_time=NOW)
    early = plan_for(job, jobs=(batch,), pods=(pod(0), stuck), now=at(30))
    assert failed(early) is None
    assert early.again_in <= timedelta(seconds=60)
    plan = plan_for(job, jobs=(batch,), pods=(pod(0), stuck), now=at(90))
    text = f"workers wait for longer than pendingDeadlineSeconds (1m30s): {why}"
    assert failed(plan) == ("PendingDeadlineExceeded", text)
    assert [(e.reason, e.message) for e in plan.events] == [
        (Reason.PENDING_DEADLINE_EXCEEDED, text)
    ]
    assert [d.name for d in plan.delete] == ["job-1"]


def test_a_job_whose_pods_are_not_even_made_fails_with_where_to_look():
    plan = plan_for(pending(), jobs=(batch_job(started_time=NOW),), now=at(90))
    assert "there is no pod of rank 0" in failed(plan)[1]
    assert "see the events of Job job-1" in failed(plan)[1]


def test_a_job_whose_workers_all_ran_once_waits_for_nothing():
    pods = (pod(0, ready=False), ended(1, code=0))
    plan = plan_for(pending(running(), workers=2), jobs=(batch_job(),), pods=pods, now=at(9999))
    assert failed(plan) is None


def test_waiting_begins_anew_when_the_batch_job_goes_on():
    stuck = pod(0, phase="Pending", ready=False, running_since=None)
    job, batch = pending(), batch_job(started_time=at(800))
    assert failed(plan_for(job, jobs=(batch,), pods=(stuck,), now=at(880))) is None
    unknown = batch_job(started_time=None)
    assert failed(plan_for(job, jobs=(unknown,), pods=(stuck,), now=at(9999))) is None


REFUSED = "Job job-1 can't be made: exceeded quota: none"


@pytest.mark.parametrize(
    ("status", "began"),
    [
        (counted(startTime="2026-01-01T12:00:00Z"), 0),
        (
            counted(
                2,
                startTime="2026-01-01T11:00:00Z",
                attempts=[{"number": 1, "class": "Infrastructure", "endTime": at(5).isoformat()}],
            ),
            5,
        ),
    ],
)
def test_a_job_that_can_not_be_made_waits_from_when_its_attempt_began(status, began):
    job, seen = pending(status), {"refused_for_now": REFUSED}
    early = plan_for(job, now=at(began + 89), **seen)
    assert failed(early) is None
    assert early.again_in == timedelta(seconds=1)
    plan = plan_for(job, now=at(began + 90), **seen)
    text = f"workers wait for longer than pendingDeadlineSeconds (1m30s): {REFUSED}"
    assert failed(plan) == ("PendingDeadlineExceeded", text)
    assert (plan.create, plan.again_in) == ((), None)
    unknown = plan_for(job, now=at(9999))
    assert failed(unknown) is None
    assert kinds(unknown.create) == [("Job", f"job-{job.status.attempt}")]


def test_no_time_in_which_the_job_was_suspended_counts_as_waiting():
    job = pending(counted(startTime="2026-01-01T12:00:00Z"), suspend=True)
    rested = plan_for(job, now=at(60), refused_for_now=REFUSED)
    assert is_true(rested, ConditionType.SUSPENDED)
    # Resumed, with what was refused before the rest still in mind.
    job = pending(rested.status.to_json_object())
    resumed = plan_for(job, now=at(500), refused_for_now=REFUSED)
    assert failed(resumed) is None
    job = pending(resumed.status.to_json_object())
    assert plan_for(job, now=at(589), refused_for_now=REFUSED).again_in == timedelta(seconds=1)
    assert failed(plan_for(job, now=at(590), refused_for_now=REFUSED)) is not None


def test_a_suspended_job_does_not_wait():
    job = pending(suspend=True)
    resting = batch_job(suspended=True)
    assert failed(plan_for(job, jobs=(resting,), now=at(9999))) is None


# After the end


def finished(**spec):
    """A job that completed at NOW."""
    done = batch_job(complete=True, finished_time=NOW)
    plan = plan_for(training_job(running(), **spec), jobs=(done,), pods=(ended(0, code=0),))
    assert is_true(plan, ConditionType.FINISHED)
    return training_job(plan.status.to_json_object(), **spec)


def test_a_finished_job_is_deleted_after_its_time():
    job = finished(ttlSecondsAfterFinished=60)
    early = plan_for(job, now=at(20))
    assert (early.delete, early.again_in) == ((), timedelta(seconds=40))
    plan = plan_for(job, now=at(60))
    assert [(d.kind, d.name, d.uid) for d in plan.delete] == [("LeptonTrainingJob", "job", job.uid)]
    assert plan.status == job.status


def test_a_job_with_an_invalid_spec_goes_too():
    job = training_job(workers=0, ttlSecondsAfterFinished=60)
    ended_job = training_job(plan_for(job).status.to_json_object(), **job.spec)
    assert kinds_of(plan_for(ended_job, now=at(61))) == ["LeptonTrainingJob"]
    strange = training_job(finished().status.to_json_object(), ttlSecondsAfterFinished="soon")
    assert plan_for(strange, now=at(99)).delete == ()


def kinds_of(plan):
    return [deletion.kind for deletion in plan.delete]


def test_a_finished_job_stays_where_nothing_is_said():
    plan = plan_for(finished(), jobs=(batch_job(complete=True),), now=at(10**8))
    assert (plan.delete, plan.again_in) == ((), None)


def test_pods_of_a_finished_job_go_when_the_administrator_says_so():
    settings = Settings(trainer_image="trainer:1", finished_pods_kept=timedelta(minutes=5))
    job, done = finished(ttlSecondsAfterFinished=3600), batch_job(complete=True)
    early = plan_for(job, now=at(60), settings=settings, jobs=(done,))
    assert (early.delete, early.again_in) == ((), timedelta(minutes=4))
    plan = plan_for(job, now=at(300), settings=settings, jobs=(done, failed_job(attempt=2)))
    assert [(d.kind, d.name) for d in plan.delete] == [("Job", "job-1"), ("Job", "job-2")]
    assert plan.again_in == timedelta(minutes=55)
    assert plan_for(job, now=at(301), settings=settings).delete == ()


def test_nothing_is_made_for_what_has_ended():
    assert kinds(plan_for(finished(ttlSecondsAfterFinished=60), now=at(60)).create) == []
