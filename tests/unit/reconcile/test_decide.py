"""One step of decide at a time."""

from dataclasses import replace
from datetime import timedelta

import pytest
from situations import (
    NOW,
    SETTINGS,
    UID,
    at,
    batch_job,
    condition,
    counted,
    deleted,
    ended,
    failed_job,
    is_true,
    kinds,
    plain,
    plan_for,
    pod,
    running,
    service,
    training_job,
    word,
)

from lepton.spec.report import LastWord, Progress
from lepton_operator.api.names import ConditionType, Phase, Reason
from lepton_operator.api.scheduling import Gang
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.plan import LookUp
from lepton_operator.reconcile.settings import NetworkAccess

DONE = {"complete": True, "finished_time": NOW}
STORED = {"storage": {"size": "1Gi"}, "workers": 2}


# Starting


def test_an_attempt_is_counted_before_anything_of_it_exists():
    plan = plan_for(training_job())
    assert (plan.status.attempt, plan.status.start_time) == (1, NOW)
    assert plan.status.phase is Phase.PENDING
    assert plan.create == ()
    assert plan.again_in == timedelta(0)


def test_a_counted_attempt_is_made():
    plan = plan_for(training_job(counted(), **STORED))
    assert kinds(plan.create) == [
        ("Service", "lepton-workers"), ("PersistentVolumeClaim", "job"), ("Job", "job-1"),
    ]  # fmt: skip


def test_what_is_there_is_not_made_again():
    job = training_job(counted(), **STORED)
    plan = plan_for(job, services=(service(),), claims=(plain(),))
    assert kinds(plan.create) == [("Job", "job-1")]
    plan = plan_for(job, services=(service(),), claims=(plain(),), jobs=(batch_job(),))
    assert plan.create == ()


def test_a_service_and_addresses_that_somebody_deleted_come_back():
    plan = plan_for(training_job(running(), workers=2), jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert kinds(plan.create) == [("Service", "lepton-workers"), ("EndpointSlice", "job")]


def test_a_service_of_another_version_of_the_operator_is_brought_up_to_date():
    old = service(desired_hash="of-another-version")
    plan = plan_for(training_job(running(), workers=2), jobs=(batch_job(),), services=(old,))
    assert kinds(plan.apply) == [("Service", "lepton-workers")]


def test_a_service_that_is_being_deleted_is_waited_for():
    plan = plan_for(training_job(counted(), workers=2), services=(service(deleting=True),))
    assert plan.create == ()
    told = condition(plan, ConditionType.PODS_READY).message
    assert told.startswith("waiting for Service lepton-workers to be deleted")


def test_a_policy_that_somebody_deleted_or_that_is_outdated_is_put_right():
    settings = replace(SETTINGS, network=NetworkAccess("lepton-system"))
    job, seen = training_job(running()), {"jobs": (batch_job(),), "pods": (pod(0),)}
    assert kinds(plan_for(job, settings=settings, **seen).create) == [("NetworkPolicy", "job")]
    old = plain(desired_hash="of-another-version")
    plan = plan_for(job, settings=settings, policies=(old,), **seen)
    assert (plan.create, kinds(plan.apply)) == ((), [("NetworkPolicy", "job")])


def test_a_job_of_another_version_of_the_operator_is_left_alone():
    old = batch_job(desired_hash="of-another-version")
    assert plan_for(training_job(running()), jobs=(old,), pods=(pod(0),)).apply == ()


def test_pods_that_a_job_which_has_just_gone_may_have_yet_are_waited_for_and_looked_up():
    job = training_job(counted())
    waiting = plan_for(job, job_vanished_ago=timedelta(seconds=0.5))
    assert (waiting.look_up, waiting.create) == (None, ())
    assert waiting.again_in == timedelta(seconds=1.5)
    asking = plan_for(job, job_vanished_ago=timedelta(seconds=2))
    assert asking.look_up == LookUp(pods_of="job")
    left = pod(0, owner_uid="of-an-earlier-job")
    seen = {"job_vanished_ago": timedelta(seconds=2), "pods_looked_up": True}
    assert plan_for(job, pods=(left,), **seen).create == ()
    assert kinds(plan_for(job, **seen).create) == [("Job", "job-1")]


def test_a_live_job_survives_an_operator_that_does_not_know_all_its_fields():
    plan = plan_for(training_job(running(), fromTheFuture=1), jobs=(batch_job(),), pods=(pod(0),))
    assert not is_true(plan, ConditionType.FAILED)
    assert plan.delete == ()
    told = condition(plan_for(training_job(fromTheFuture=1)), ConditionType.FAILED)
    assert "spec.fromTheFuture: unknown field" in told.message


def test_objects_of_a_deleted_job_of_this_name_are_waited_for():
    left = batch_job(owner_uid="an-earlier-uid")
    plan = plan_for(training_job(counted()), jobs=(left,))
    assert plan.create == ()
    assert plan.again_in is not None
    assert "job-1, left by an earlier job" in condition(plan, ConditionType.PODS_READY).message


def test_pods_of_an_earlier_job_of_this_name_are_waited_for():
    plan = plan_for(training_job(counted()), pods=(deleted(pod(0)),))
    assert plan.create == ()
    assert plan_for(training_job(counted()), pods=(ended(0),)).create != ()


def test_a_pod_made_by_hand_with_our_labels_is_not_waited_for():
    strange = [pod(0, uid=f"by-hand-{name}", made_by=name) for name in (None, "job", "job-1-0")]
    plan = plan_for(training_job(counted()), pods=tuple(strange))
    assert kinds(plan.create) == [("Job", "job-1")]
    resting = plan_for(training_job(running(), suspend=True), pods=tuple(strange))
    assert is_true(resting, ConditionType.SUSPENDED)


@pytest.mark.parametrize("owner", ["job-uid-1", "of-an-earlier-job", None])
def test_pods_of_a_batch_job_that_is_gone_are_waited_for(owner):
    left = pod(0, owner_uid=owner)
    assert plan_for(training_job(counted(2)), pods=(left,)).create == ()


@pytest.mark.parametrize(
    ("owner", "labels", "maker"),
    [
        ({"kind": "Job", "name": "job-1", "uid": "u", "controller": True}, {}, "job-1"),
        ({"kind": "ReplicaSet", "name": "job-1", "uid": "u", "controller": True}, {}, None),
        (None, {"batch.kubernetes.io/job-name": "job-1"}, "job-1"),
        (None, {"training.lepton.ai/job-name": "job"}, None),
    ],
)
def test_which_batch_job_made_a_pod_is_known_though_the_job_was_deleted_alone(owner, labels, maker):
    metadata = {"namespace": "team", "name": "pod", "uid": "p", "labels": labels}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    assert PodView.from_object({"metadata": metadata}).made_by == maker


QUOTA = 'Job job-1 can\'t be made: jobs.batch "job-1" is forbidden: exceeded quota: none'


def test_what_can_not_be_made_for_now_is_told_and_tried_again():
    plan = plan_for(training_job(counted()), refused_for_now=QUOTA)
    told = condition(plan, ConditionType.PODS_READY)
    assert (told.status, told.reason, told.message) == ("False", Reason.CREATION_REFUSED, QUOTA)
    assert (plan.status.phase, plan.status.reason) == (Phase.PENDING, Reason.CREATION_REFUSED)
    assert kinds(plan.create) == [("Job", "job-1")]
    assert plan.urgent
    job = training_job(plan.status.to_json_object())
    # Also without a memory of it, which an operator that was started anew has not.
    for seen in ({"refused_for_now": QUOTA}, {}):
        again = plan_for(job, now=at(60), **seen)
        assert (again.status, kinds(again.create)) == (plan.status, [("Job", "job-1")])
    other = plan_for(job, now=at(60), refused_for_now=f"{QUOTA}, used: 7")
    assert condition(other, ConditionType.PODS_READY).message.endswith("used: 7")
    assert not other.urgent


@pytest.mark.parametrize(("attempt", "reason"), [(1, "PodsPending"), (2, "Restarting")])
def test_a_refusal_is_told_no_more_once_the_job_could_be_made(attempt, reason):
    refused = plan_for(training_job(counted(attempt)), refused_for_now=QUOTA)
    job = training_job(refused.status.to_json_object())
    plan = plan_for(job, jobs=(batch_job(attempt),))
    told = condition(plan, ConditionType.PODS_READY)
    assert (told.reason, told.message) == (reason, "0 of 1 worker ready")
    assert plan.urgent


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        ({"name_taken": "Service job exists already"}, Reason.NAME_TAKEN),
        ({"refused": "Job is invalid: spec..."}, Reason.INVALID_SPEC),
    ],
)
def test_what_can_never_be_made_fails_the_job(observed, reason):
    plan = plan_for(training_job(counted()), **observed)
    failed = condition(plan, ConditionType.FAILED)
    assert (failed.status, failed.reason) == ("True", reason)
    assert failed.message in observed.values()
    assert is_true(plan, ConditionType.FINISHED)


def test_an_invalid_spec_fails_with_its_problems_and_makes_nothing():
    plan = plan_for(training_job(workers=0))
    failed = condition(plan, ConditionType.FAILED)
    assert failed.reason == Reason.INVALID_SPEC
    assert failed.message == "spec.workers: Invalid value: 0: should be at least 1"
    assert plan.create == ()
    assert [e.reason for e in plan.events] == [Reason.INVALID_SPEC]


def test_of_a_job_that_is_deleted_nothing_is_done():
    job = training_job(counted())
    plan = plan_for(type(job)(**{**vars(job), "deleting": True}))
    assert (plan.status, plan.create, plan.delete) == (job.status, (), ())


OURS = "training.lepton.ai/lepton-operator"


@pytest.mark.parametrize("spec", [{}, {"workers": 0}, {"suspend": True}])
@pytest.mark.parametrize("status", [{}, counted(), running()])
def test_a_job_that_another_controller_manages_is_left_alone(spec, status):
    job = training_job(status, managedBy="example.com/other", **spec)
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0),), refused="no")
    assert plan.status == job.status
    assert (plan.create, plan.apply, plan.delete, plan.events) == ((), (), (), ())
    assert (plan.again_in, plan.look_up) == (None, None)


def test_a_finished_job_that_another_controller_manages_stays():
    end = plan_for(training_job(running()), jobs=(batch_job(**DONE),), pods=(ended(0, code=0),))
    status = end.status.to_json_object()
    job = training_job(status, managedBy="example.com/other", ttlSecondsAfterFinished=0)
    assert plan_for(job, jobs=(batch_job(),), now=at(99)).delete == ()


def test_a_job_that_names_this_operator_is_ours():
    assert plan_for(training_job(managedBy=OURS)).status.attempt == 1


def test_segments_are_refused_where_no_label_tells_domains_apart():
    job = training_job(workers=2, scheduling={"segmentSize": 2})
    settings = replace(SETTINGS, interconnect_label="")
    found = condition(plan_for(job, settings=settings), ConditionType.FAILED)
    assert found.reason == Reason.INVALID_SPEC
    assert "--interconnect-label" in found.message
    assert plan_for(training_job(workers=2), settings=settings).status.attempt == 1


# Running


def test_where_workers_run_is_noted_once_all_do():
    job = training_job(counted(), workers=2)
    half = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1, ready=False)))
    assert half.status.placement is None
    whole = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert whole.status.placement.nodes == ["node-0", "node-1"]
    assert whole.status.placement.regions is None
    assert whole.look_up is None


def test_where_workers_of_a_failed_attempt_ran_is_noted_too():
    waiting = pod(1, phase="Pending", ready=False)
    plan = plan_for(
        training_job(counted(), workers=2), jobs=(failed_job(),), pods=(ended(0), waiting)
    )
    assert plan.status.placement.nodes == ["node-0"]


WAITING = pod(1, phase="Pending", ready=False, node=None)


def test_where_workers_ran_before_a_suspension_is_noted_though_not_all_did():
    spec = {"workers": 2, "scheduling": {"regions": ["region-0", "region-1"]}}
    seen = {"jobs": (batch_job(),), "pods": (pod(0), WAITING)}
    job = training_job(counted(), suspend=True, **spec)
    assert plan_for(job, **seen).look_up == LookUp(regions_of=frozenset({"node-0"}))
    plan = plan_for(job, regions={"node-0": "region-0"}, **seen)
    assert plan.status.placement.nodes == ["node-0"]
    assert plan.status.placement.regions == ["region-0"]
    assert plan.urgent
    job = training_job(plan.status.to_json_object(), suspend=True, **spec)
    rested = plan_for(job, jobs=(batch_job(suspended=True),), now=at(30))
    job = training_job(rested.status.to_json_object(), **spec)
    pods = (pod(0, node="node-5"), pod(1, node="node-6"))
    elsewhere = {"node-5": "region-1", "node-6": "region-1"}
    resumed = plan_for(job, jobs=(batch_job(),), pods=pods, regions=elsewhere, now=at(60))
    assert resumed.status.placement.nodes == ["node-0", "node-5", "node-6"]
    assert resumed.status.placement.regions == ["region-0", "region-1"]


def test_where_workers_ran_is_noted_when_a_queue_sends_them_back():
    job = training_job(counted(), workers=2, scheduling={"gang": "Kueue", "queue": "research"})
    settings = replace(SETTINGS, gangs=frozenset({Gang.KUEUE}))
    seen = {"jobs": (batch_job(suspended=True),), "pods": (deleted(pod(0)), WAITING)}
    plan = plan_for(job, settings=settings, **seen)
    assert condition(plan, ConditionType.ADMITTED).status == "False"
    assert plan.status.placement.nodes == ["node-0"]


def test_where_workers_ran_is_noted_when_their_batch_job_goes_before_all_did():
    first = counted()
    first["conditions"][0]["reason"] = "PodsPending"
    lost = plan_for(training_job(first, workers=2), pods=(deleted(pod(0)),), looked_up_job=())
    assert (lost.status.attempt, lost.status.placement.nodes) == (2, ["node-0"])
    again = plan_for(training_job(counted(2), workers=2), pods=(deleted(pod(0, attempt=2)),))
    assert (again.status.attempt, again.status.placement.nodes) == (2, ["node-0"])


def test_where_an_earlier_job_of_this_name_ran_is_not_noted():
    job = training_job(counted(startTime="2026-01-01T12:00:00Z"), suspend=True)
    assert plan_for(job, pods=(ended(0, code=0),)).status.placement is None


def test_regions_are_looked_up_for_jobs_that_name_them_and_new_nodes_only():
    job = training_job(
        counted(placement={"nodes": ["node-0"], "regions": ["a"]}),
        workers=2,
        scheduling={"zones": ["a-1"]},
    )
    pods = (pod(0), pod(1))
    asking = plan_for(job, jobs=(batch_job(),), pods=pods)
    assert asking.look_up == LookUp(regions_of=frozenset({"node-1"}))
    plan = plan_for(job, jobs=(batch_job(),), pods=pods, regions={"node-1": "b"})
    assert plan.status.placement.nodes == ["node-0", "node-1"]
    assert plan.status.placement.regions == ["a", "b"]
    unknown = plan_for(job, jobs=(batch_job(),), pods=pods, regions={"node-1": None})
    assert unknown.status.placement.regions == ["a"]


def test_of_very_many_nodes_only_some_are_named():
    pods = tuple(pod(rank, node=f"node-{rank:03}") for rank in range(200))
    plan = plan_for(training_job(counted(), workers=200), jobs=(batch_job(),), pods=pods)
    assert len(plan.status.placement.nodes) == 128


def test_workers_are_counted_and_the_first_readiness_is_told():
    job = training_job(counted(), workers=2)
    half = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1, ready=False)))
    assert half.status.workers.summary == "1/2"
    assert half.status.phase is Phase.PENDING
    assert not half.urgent
    assert half.starting
    held = pod(1, phase="Pending", ready=False, unschedulable="0/3 nodes: Insufficient gpu")
    stuck = plan_for(job, jobs=(batch_job(),), pods=(pod(0), held))
    assert not stuck.starting
    whole = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert whole.status.phase is Phase.RUNNING
    assert whole.urgent
    assert not whole.starting
    assert whole.events == ()
    again = plan_for(
        training_job(counted(attempt=2), workers=2),
        jobs=(batch_job(2),),
        pods=(pod(0, attempt=2), pod(1, attempt=2)),
    )
    assert [e.reason for e in again.events] == [Reason.ATTEMPT_STARTED]


def test_workers_that_end_one_after_the_other_are_told_with_the_end():
    job = training_job(running(), workers=2)
    status = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1))).status
    job = training_job(status.to_json_object(), workers=2)
    pods = (ended(0, code=0, seconds=0), pod(1))
    soon = plan_for(job, jobs=(batch_job(),), pods=pods, now=at(4))
    assert soon.status == job.status
    assert soon.again_in == timedelta(seconds=6)
    late = plan_for(job, jobs=(batch_job(),), pods=pods, now=at(10))
    assert (late.status.workers.ready, late.status.workers.succeeded) == (1, 1)


def test_why_a_worker_is_not_ready_is_told():
    held = pod(1, phase="Pending", ready=False, unschedulable="0/3 nodes: Insufficient gpu")
    plan = plan_for(training_job(counted(), workers=2), jobs=(batch_job(),), pods=(pod(0), held))
    message = condition(plan, ConditionType.PODS_READY).message
    assert message == "1 of 2 workers ready; rank 1 can't be placed: 0/3 nodes: Insufficient gpu"


def test_progress_alone_is_not_urgent_and_nothing_new_is_no_difference():
    job = training_job(running(), workers=1)
    pods, said = (pod(0),), Progress(step=10, total_steps=100, metrics={"loss": 0.5})
    plan = plan_for(job, jobs=(batch_job(),), pods=pods, progress=said, progress_time=NOW)
    assert plan.status.progress.summary == "10%"
    assert plan.status.metrics[0].value == "0.5"
    assert not plan.urgent
    again = plan_for(
        training_job(plan.status.to_json_object(), workers=1),
        jobs=(batch_job(),), pods=pods, progress=said, progress_time=at(60), now=at(60),
    )  # fmt: skip
    assert again.status == plan.status


def test_a_worker_that_is_done_first_does_not_make_the_job_unready():
    job = training_job(running(), workers=2)
    plan = plan_for(job, jobs=(batch_job(),), pods=(ended(0, code=0), pod(1)))
    assert is_true(plan, ConditionType.PODS_READY)
    assert not plan.urgent


def test_a_running_job_that_loses_readiness_still_runs():
    plan = plan_for(training_job(running()), jobs=(batch_job(),), pods=(pod(0, ready=False),))
    assert condition(plan, ConditionType.PODS_READY).reason == Reason.PODS_NOT_READY
    assert plan.status.phase is Phase.RUNNING
    assert plan.events == ()
    assert not plan.urgent


# The end


def test_a_condition_that_is_as_before_has_not_moved_in_between():
    status = running()
    status["conditions"][0] |= {"status": "False", "reason": "PodsNotReady"}
    pods = (ended(0, code=0), ended(1, code=0))
    plan = plan_for(training_job(status), jobs=(batch_job(**DONE),), pods=pods, now=at(60))
    told = condition(plan, ConditionType.PODS_READY)
    assert (told.status, told.reason) == ("False", Reason.TRAINING_COMPLETE)
    assert told.last_transition_time.isoformat() == "2026-01-01T11:00:05+00:00"


def test_a_complete_job_waits_for_the_last_word_and_then_takes_it():
    job = training_job(running(), **STORED)
    jobs = (batch_job(**DONE),)
    early = plan_for(job, jobs=jobs, pods=(pod(0), ended(1, code=0)), now=at(1))
    assert not is_true(early, ConditionType.COMPLETE)
    assert early.again_in == timedelta(seconds=1)
    said = {"pod-uid-1-0": LastWord(progress=Progress(step=100, total_steps=100))}
    pods = (ended(0, code=0), ended(1, code=0))
    plan = plan_for(job, jobs=jobs, pods=pods, last_words=said, now=at(2))
    assert plan.status.phase is Phase.COMPLETE
    assert is_true(plan, ConditionType.FINISHED)
    assert plan.status.progress.percent == 100
    assert plan.status.workers.summary == "2/2"
    assert plan.status.completion_time == at(2)
    assert plan.events == ()


def test_a_last_word_that_never_comes_is_not_waited_for_for_ever():
    job, jobs = training_job(running()), (batch_job(**DONE),)
    assert not is_true(plan_for(job, jobs=jobs, now=at(29)), ConditionType.COMPLETE)
    assert is_true(plan_for(job, jobs=jobs, now=at(30)), ConditionType.COMPLETE)


def test_terminal_is_terminal():
    end = plan_for(training_job(running()), jobs=(batch_job(**DONE),), pods=(ended(0, code=0),))
    for children in ({}, {"jobs": (failed_job(),)}, {"pods": (ended(0),)}, {"refused": "no"}):
        job = training_job(end.status.to_json_object())
        plan = plan_for(job, progress=Progress(step=1), now=at(99), **children)
        assert plan.status == job.status
        assert (plan.create, plan.apply, plan.delete, plan.events) == ((), (), (), ())


def test_what_still_runs_of_a_failed_job_is_stopped():
    stuck = pod(
        0, phase="Pending", ready=False, waiting_reason="InvalidImageName", waiting_message="bad"
    )
    plan = plan_for(training_job(counted()), jobs=(batch_job(),), pods=(stuck,))
    assert condition(plan, ConditionType.FAILED).reason == Reason.IMAGE_PULL_FAILED
    assert [(d.kind, d.name, d.uid) for d in plan.delete] == [("Job", "job-1", "job-uid-1")]
    later = plan_for(training_job(plan.status.to_json_object()), jobs=(batch_job(),))
    assert later.delete == plan.delete
    assert plan_for(training_job(plan.status.to_json_object()), jobs=(failed_job(),)).delete == ()


# Failing and starting anew


def test_a_failed_attempt_is_noted_and_the_next_one_counted_in_one_write():
    job = training_job(running(), workers=2, failurePolicy={"backoffSeconds": 30})
    observed = {
        "jobs": (failed_job(1),),
        "pods": (ended(0), deleted(ended(1, code=143, seconds=2), 1)),
        "last_words": {"pod-uid-1-0": word("ValueError: boom", "train.py:3")},
        "progress": Progress(step=40, total_steps=100, steps_per_second=2),
    }
    plan = plan_for(job, now=at(3), **observed)
    assert (plan.status.attempt, plan.status.restarts, plan.status.interruptions) == (2, 1, 0)
    (attempt,) = plan.status.attempts
    assert (attempt.number, attempt.rank, attempt.exit_code, attempt.step) == (1, 0, 1, 40)
    assert attempt.message == "rank 0 exited with code 1 on node-0: ValueError: boom (train.py:3)"
    assert plan.status.phase is Phase.RESTARTING
    assert plan.status.progress.remaining is None
    (event,) = plan.events
    assert (event.type, event.reason) == ("Warning", Reason.ATTEMPT_FAILED)
    assert "ValueError: boom" in event.message

    status = plan.status.to_json_object()
    next_job = training_job(status, workers=2, failurePolicy={"backoffSeconds": 30})
    observed.pop("progress")
    waiting = plan_for(next_job, now=at(10), **observed)
    assert waiting.create == ()
    assert timedelta(seconds=23) <= waiting.again_in <= timedelta(seconds=31)
    assert waiting.events == ()
    starting = plan_for(next_job, now=at(41), **observed)
    assert ("Job", "job-2") in kinds(starting.create)
    assert starting.delete == ()


def test_the_next_attempt_waits_for_the_last_pod_of_the_old_one():
    status = counted(2)
    job = training_job(status)
    plan = plan_for(job, jobs=(failed_job(),), pods=(deleted(pod(0), seconds=-5),))
    assert plan.create == ()
    lost = plan_for(job, jobs=(failed_job(),), pods=(deleted(pod(0), seconds=-70),))
    assert kinds(lost.create) == [("Job", "job-2")]


def test_jobs_before_the_last_attempt_are_deleted_and_the_last_ones_kept_for_its_logs():
    plan = plan_for(training_job(counted(3)), jobs=(failed_job(attempt=1), failed_job(attempt=2)))
    assert [d.name for d in plan.delete] == ["job-1"]


def test_a_job_whose_attempt_was_given_up_is_stopped():
    plan = plan_for(training_job(counted(2)), jobs=(batch_job(1),), pods=(pod(0),))
    assert [d.name for d in plan.delete] == ["job-1"]
    assert plan.create == ()


def test_a_batch_job_that_is_not_seen_any_more_is_asked_for_before_anything_is_ended():
    asking = plan_for(training_job(running()), pods=(pod(0),))
    assert asking.look_up == LookUp(job="job-1")
    plan = plan_for(training_job(running()), pods=(pod(0),), looked_up_job=(batch_job(),))
    assert plan.status.attempt == 1
    assert (kinds(plan.create), plan.delete) == ([("Job", "job-1")], ())


@pytest.mark.parametrize(
    "found", [(), (batch_job(deleting=True),), (batch_job(owner_uid="an-earlier-uid"),)]
)
def test_a_batch_job_deleted_by_hand_is_an_interruption(found):
    seen = {"pods": (deleted(pod(0)),), "looked_up_job": found}
    plan = plan_for(training_job(running()), **seen)
    assert plan.status.attempt == 2
    assert plan.status.interruptions == 1
    assert plan.status.attempts[0].reason == Reason.JOB_DELETED


def test_a_job_of_an_attempt_that_nobody_saw_running_is_just_made():
    plan = plan_for(training_job(counted(2)))
    assert kinds(plan.create) == [("Job", "job-2")]


def test_after_the_last_restart_the_job_fails_with_the_cause():
    job = training_job(running(2), failurePolicy={"maxRestarts": 1})
    failed = ended(0, attempt=2, uid="pod", owner_uid="job-uid-2")
    said = {"pod": word("ValueError: boom")}
    plan = plan_for(job, jobs=(failed_job(attempt=2),), pods=(failed,), last_words=said)
    found = condition(plan, ConditionType.FAILED)
    assert found.reason == Reason.MAX_RESTARTS_EXCEEDED
    assert found.message.startswith("failed after 1 restart; at last: rank 0 exited with code 1")
    assert "ValueError: boom" in found.message
    assert plan.status.attempt == 2
    assert [a.number for a in plan.status.attempts] == [2]
    assert plan.status.phase is Phase.FAILED


def test_a_rule_that_says_fail_ends_the_job_though_restarts_are_left():
    rules = [{"exitCodes": [3], "action": "Fail"}]
    job = training_job(running(), failurePolicy={"rules": rules})
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0, code=3),))
    assert condition(plan, ConditionType.FAILED).reason == Reason.FAILED_BY_RULE
    assert [(a.failure_class, a.exit_code) for a in plan.status.attempts] == [("Application", 3)]


def test_a_free_restart_is_counted_beside_the_budget():
    rules = [{"exitCodes": [75], "action": "RestartFree"}]
    job = training_job(running(), failurePolicy={"maxRestarts": 0, "rules": rules})
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0, code=75),))
    assert (plan.status.attempt, plan.status.restarts, plan.status.interruptions) == (2, 1, 1)


def test_the_same_failure_again_is_told_in_message_and_event():
    before = {"number": 1, "class": "Application", "rank": 0, "step": 40}
    job = training_job(running(2, attempts=[before]))
    failed = ended(0, attempt=2, uid="pod", owner_uid="job-uid-2")
    said = {"pod": LastWord(progress=Progress(step=40))}
    plan = plan_for(job, jobs=(failed_job(attempt=2),), pods=(failed,), last_words=said)
    told = "rank 0 failed at step 40 in 2 attempts; after 3 the job fails"
    assert told in condition(plan, ConditionType.PODS_READY).message
    assert [e.reason for e in plan.events] == [Reason.ATTEMPT_FAILED, Reason.REPEATED_FAILURE]
    assert plan.events[1].message == told


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, "; without storage training begins from zero"),
        ({"command": ["train"]}, "; without storage training begins from zero"),
        (
            {"environment": {}, "checkpoint": {"resumeFrom": "pvc://a/b"}},
            "; without storage training begins at checkpoint.resumeFrom again",
        ),
        ({"storage": {"size": "1Gi"}}, None),
        ({"command": ["train"], "template": {"volumes": [{"name": "a"}]}}, None),
    ],
)
def test_a_restart_that_loses_what_was_learnt_says_so(spec, told):
    job = training_job(running(), **spec)
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0),))
    for text in (plan.events[0].message, condition(plan, ConditionType.PODS_READY).message):
        assert text.endswith(told) if told else "without storage" not in text
    suspended = training_job(running(), suspend=True, **spec)
    plan = plan_for(suspended, jobs=(batch_job(suspended=True),))
    text = condition(plan, ConditionType.SUSPENDED).message
    assert text.endswith(told) if told else "without storage" not in text


# Suspending


def test_a_job_made_suspended_makes_nothing_and_is_told_once():
    plan = plan_for(training_job(suspend=True))
    assert (plan.status.phase, plan.status.attempt) == (Phase.SUSPENDED, 0)
    assert plan.create == ()
    assert [e.reason for e in plan.events] == [Reason.SUSPENDED]
    again = plan_for(training_job(plan.status.to_json_object(), suspend=True), now=at(60))
    assert again.status == plan.status
    assert again.events == ()
    resumed = plan_for(training_job(plan.status.to_json_object()))
    assert resumed.status.attempt == 1
    assert [e.reason for e in resumed.events] == [Reason.RESUMED]


def test_suspending_a_running_job_suspends_its_batch_job():
    job = training_job(running(), suspend=True)
    plan = plan_for(job, jobs=(batch_job(),), pods=(pod(0),))
    assert plan.apply[0]["spec"] == {"suspend": True}
    assert plan.status.phase is Phase.RUNNING
    resting = batch_job(suspended=True)
    ending = plan_for(job, jobs=(resting,), pods=(deleted(pod(0)),))
    assert not is_true(ending, ConditionType.SUSPENDED)
    rested = plan_for(job, jobs=(resting,))
    assert rested.status.phase is Phase.SUSPENDED
    assert (rested.status.attempt, rested.status.restarts) == (1, 0)
    assert rested.apply == ()


def test_resuming_waits_for_pods_that_still_end():
    status = running()
    jobs = (batch_job(suspended=True),)
    plan = plan_for(training_job(status), jobs=jobs, pods=(deleted(pod(0)),))
    assert plan.apply == ()
    assert plan.again_in is not None
    plan = plan_for(training_job(status), jobs=jobs)
    assert plan.apply[0]["spec"] == {"suspend": False}


def test_no_attempt_starts_while_suspended():
    plan = plan_for(training_job(counted(2), suspend=True), jobs=(failed_job(),))
    assert plan.create == ()
    assert plan.status.phase is Phase.SUSPENDED
    assert plan.status.attempt == 2


def test_a_change_of_the_spec_is_acknowledged():
    status = running(observedGeneration=0)
    plan = plan_for(training_job(status), jobs=(batch_job(),), pods=(pod(0),))
    assert plan.status.observed_generation == 1
    assert plan.urgent


def test_a_condition_keeps_its_time_until_it_changes():
    job = training_job(running())
    plan = plan_for(job, jobs=(batch_job(),), pods=(pod(0),))
    before = job.status.condition(ConditionType.PODS_READY)
    after = condition(plan, ConditionType.PODS_READY)
    assert after.last_transition_time == before.last_transition_time
    plan = plan_for(job, jobs=(batch_job(),), pods=(pod(0, ready=False),))
    assert condition(plan, ConditionType.PODS_READY).last_transition_time == NOW


def test_children_of_others_are_nobodys_business():
    strange = batch_job(9, owner_uid="other", name="job-9")
    plan = plan_for(training_job(running()), jobs=(batch_job(), strange), pods=(pod(0),))
    assert plan.delete == ()
    assert batch_job().owner_uid == UID
    assert LeptonTrainingJobStatus.read(plan.status.to_json_object()) == plan.status
