"""Who starts all workers or none: what they are told, and what their answer means for the job."""

from dataclasses import replace

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
    is_true,
    kinds,
    plan_for,
    pod,
    running,
    training_job,
)

from lepton_operator.api.names import ConditionType, Phase, Reason
from lepton_operator.api.scheduling import Gang
from lepton_operator.reconcile.observed import GroupView
from lepton_operator.reconcile.plan import Deletion

ALL = replace(SETTINGS, gangs=frozenset(Gang))
QUEUED = {"gang": "Kueue", "queue": "research"}


def group(attempt=1, **more):
    """A PodGroup of the job."""
    view = GroupView(
        namespace="team",
        name=f"job-{attempt}",
        uid=f"group-uid-{attempt}",
        owner_uid=UID,
        job="job",
        attempt=attempt,
        desired_hash=None,
        deleting=False,
        api_version="scheduling.k8s.io/v1beta1",
        waits_for=None,
    )
    return replace(view, **more)


def made(settings=ALL, workers=2, **scheduling):
    """The objects of the first attempt, by kind."""
    job = training_job(counted(), workers=workers, scheduling=scheduling)
    return {manifest["kind"]: manifest for manifest in plan_for(job, settings=settings).create}


def template(objects):
    return objects["Job"]["spec"]["template"]


def test_several_workers_are_placed_together_by_default_where_the_cluster_can():
    objects = made()
    assert list(objects) == ["Service", "PodGroup", "Job"]
    found = objects["PodGroup"]
    assert found["apiVersion"] == "scheduling.k8s.io/v1beta1"
    assert found["metadata"]["name"] == "job-1"
    assert found["metadata"]["ownerReferences"][0]["uid"] == UID
    assert found["spec"] == {"schedulingPolicy": {"gang": {"minCount": 2}}}
    assert template(objects)["spec"]["schedulingGroup"] == {"podGroupName": "job-1"}


@pytest.mark.parametrize("asked", [{"settings": SETTINGS}, {"workers": 1}, {"gang": "None"}])
def test_no_group_is_made_where_none_is_needed_or_offered(asked):
    objects = made(**asked)
    assert "PodGroup" not in objects
    assert not {"schedulingGroup", "schedulerName"} & template(objects)["spec"].keys()


def test_a_group_has_the_priority_of_its_pods():
    objects = made(priorityClassName="high")
    assert objects["PodGroup"]["spec"]["priorityClassName"] == "high"
    assert template(objects)["spec"]["priorityClassName"] == "high"


def test_the_coscheduling_plugin_gets_a_group_a_label_and_its_scheduler():
    objects = made(gang="Coscheduling")
    assert objects["PodGroup"]["apiVersion"] == "scheduling.x-k8s.io/v1alpha1"
    assert objects["PodGroup"]["spec"] == {"minMember": 2}
    assert template(objects)["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == "job-1"
    assert template(objects)["spec"]["schedulerName"] == "scheduler-plugins-scheduler"


@pytest.mark.parametrize("workers", [1, 2])
def test_volcano_gets_a_group_with_queue_an_annotation_and_its_scheduler(workers):
    objects = made(gang="Volcano", queue="research", priorityClassName="high", workers=workers)
    assert objects["PodGroup"]["apiVersion"] == "scheduling.volcano.sh/v1beta1"
    assert objects["PodGroup"]["spec"] == {
        "minMember": workers, "queue": "research", "priorityClassName": "high",
    }  # fmt: skip
    annotations = template(objects)["metadata"]["annotations"]
    assert annotations == {"scheduling.k8s.io/group-name": "job-1"}
    assert template(objects)["spec"]["schedulerName"] == "volcano"


@pytest.mark.parametrize("gang", ["Native", "Coscheduling", "Volcano", "Kueue"])
def test_a_gang_that_is_not_there_is_refused_with_what_is_missing(gang):
    queue = {"queue": "research"} if gang == "Kueue" else {}
    job = training_job(workers=2, scheduling={"gang": gang, **queue})
    failed = condition(plan_for(job), ConditionType.FAILED)
    assert failed.reason == Reason.INVALID_SPEC
    assert failed.message.startswith(f"spec.scheduling.gang: {gang} is not there")
    assert "offered no " in failed.message


def test_what_runs_goes_on_though_its_gang_is_offered_no_more():
    job = training_job(running(), workers=2, scheduling={"gang": "Native"})
    plan = plan_for(job, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert not is_true(plan, ConditionType.FAILED)


def test_a_group_that_is_there_is_not_made_again_and_not_brought_back_later():
    job = training_job(counted(), workers=2)
    plan = plan_for(job, settings=ALL, groups=(group(),))
    assert kinds(plan.create) == [("Service", "job"), ("Job", "job-1")]
    plan = plan_for(
        training_job(running(), workers=2), settings=ALL, jobs=(batch_job(),), pods=(pod(0), pod(1))
    )
    assert kinds(plan.create) == [("Service", "job")]


def test_a_group_goes_with_its_attempts_job():
    job = training_job(running(3), workers=2)
    groups = (group(1), group(2), group(3))
    plan = plan_for(job, settings=ALL, jobs=(batch_job(2), batch_job(3)), groups=groups)
    gone = [deletion for deletion in plan.delete if deletion.kind == "PodGroup"]
    assert gone == [Deletion("PodGroup", "job-1", "group-uid-1", "scheduling.k8s.io/v1beta1")]


def test_a_group_of_an_earlier_job_of_this_name_is_waited_for():
    left = group(owner_uid="an-earlier-uid", deleting=True)
    plan = plan_for(training_job(counted(), workers=2), settings=ALL, groups=(left,))
    assert plan.create == ()
    assert "job-1, left by an earlier job" in condition(plan, ConditionType.PODS_READY).message


def test_why_a_gang_waits_is_told_in_plain_words():
    waits = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    pods = tuple(pod(n, phase="Pending", ready=False, node=None) for n in (0, 1))
    plan = plan_for(
        training_job(counted(), workers=2),
        settings=ALL,
        jobs=(batch_job(),),
        pods=pods,
        groups=(group(waits_for=waits),),
    )
    assert condition(plan, ConditionType.PODS_READY).message == (
        "0 of 2 workers ready; the workers can't be placed together:"
        " none of 3 nodes will do: not enough free nvidia.com/gpu (3)"
    )


def test_what_a_pod_tells_of_the_nodes_says_more_than_the_groups_count():
    counts = "minCount (2) cannot be satisfied: 1 scheduled, 0 remaining"
    waiting = {"phase": "Pending", "ready": False, "node": None}
    nodes = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    pods = (
        pod(0, unschedulable=f"pod group is unschedulable, {counts}", **waiting),
        pod(1, unschedulable=nodes, **waiting),
    )
    plan = plan_for(
        training_job(counted(), workers=2),
        settings=ALL,
        jobs=(batch_job(),),
        pods=pods,
        groups=(group(waits_for=counts),),
    )
    assert condition(plan, ConditionType.PODS_READY).message.endswith(
        "can't be placed together: the only node will not do: not enough free nvidia.com/gpu (1)"
    )


@pytest.mark.parametrize(
    ("told", "waits_for"),
    [
        (None, None),
        (("PodGroupInitiallyScheduled", "True", "all"), None),
        (("PodGroupInitiallyScheduled", "False", "no room"), "no room"),
        (("Unschedulable", "True", "2/2 tasks"), "2/2 tasks"),
        (("Unschedulable", "False", "old"), None),
    ],
)  # fmt: skip
def test_a_schedulers_answer_is_read_of_the_groups_conditions(told, waits_for):
    conditions = [dict(zip(("type", "status", "message"), told, strict=True))] if told else []
    raw = {
        "metadata": {"namespace": "team", "name": "job-1", "uid": "u"},
        "status": {"conditions": conditions},
    }
    assert GroupView.from_object(raw, "g/v1").waits_for == waits_for


# Kueue


def test_kueue_gets_a_job_that_is_suspended_and_names_its_queue():
    objects = made(**QUEUED)
    assert objects["Job"]["spec"]["suspend"] is True
    assert objects["Job"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "PodGroup" not in objects
    assert "kueue.x-k8s.io/queue-name" not in template(objects)["metadata"]["labels"]


def queued_job(status, **spec):
    return training_job(status, workers=2, scheduling=QUEUED, **spec)


def test_a_job_that_its_queue_keeps_waits_and_is_never_started_by_us():
    held = batch_job(suspended=True, suspended_time=NOW, started_time=None)
    plan = plan_for(queued_job(counted()), settings=ALL, jobs=(held,))
    assert plan.apply == ()
    admitted = condition(plan, ConditionType.ADMITTED)
    assert (admitted.status, admitted.reason) == ("False", Reason.QUEUED)
    assert "queue research" in admitted.message
    assert plan.status.phase is Phase.PENDING
    assert plan.status.reason == Reason.QUEUED
    assert [event.reason for event in plan.events] == [Reason.QUEUED]


def test_a_job_that_its_queue_admitted_says_so_and_runs():
    plan = plan_for(queued_job(counted()), settings=ALL, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert is_true(plan, ConditionType.ADMITTED)
    assert plan.status.phase is Phase.RUNNING


def test_a_job_that_its_queue_sends_back_has_not_failed():
    held = batch_job(suspended=True, suspended_time=NOW)
    gone = pod(0, ready=False, deleting=True, delete_requested_time=NOW)
    plan = plan_for(queued_job(running()), settings=ALL, jobs=(held,), pods=(gone,))
    assert plan.status.attempts == []
    assert condition(plan, ConditionType.ADMITTED).reason == Reason.QUEUED
    assert plan.apply == ()


def test_a_queued_job_is_suspended_by_taking_its_job_from_the_queue():
    """Kueue would start a Job again that it has admitted."""
    job = queued_job(running(), suspend=True)
    plan = plan_for(job, settings=ALL, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    assert plan.apply == ()
    assert plan.delete == (Deletion("Job", "job-1", "job-uid-1", version="7"),)
    status = plan.status.to_json_object()
    rests = plan_for(queued_job(status, suspend=True), settings=ALL)
    assert rests.status.phase is Phase.SUSPENDED
    again = plan_for(queued_job(rests.status.to_json_object()), settings=ALL)
    assert kinds(again.create)[-1] == ("Job", "job-1")
    assert again.status.attempts == []


def test_a_queued_job_that_is_resumed_while_its_pods_end_waits_for_them():
    job = queued_job(running(), suspend=True)
    plan = plan_for(job, settings=ALL, jobs=(batch_job(),), pods=(pod(0), pod(1)))
    back = queued_job(plan.status.to_json_object())
    waits = plan_for(back, settings=ALL, pods=(pod(0, deleting=True),))
    assert waits.create == ()
    assert waits.status.attempts == []
    assert waits.status.attempt == 1


def test_pods_that_go_before_their_job_is_seen_suspended_are_no_failure_yet():
    job = queued_job(running())
    pods = (deleted(pod(0)), deleted(pod(1)))
    early = plan_for(job, settings=ALL, jobs=(batch_job(),), pods=pods, now=at(1))
    assert early.status.attempts == []
    assert early.again_in is not None
    sent_back = plan_for(job, settings=ALL, jobs=(batch_job(suspended=True),), pods=pods, now=at(2))
    assert sent_back.status.attempts == []
    late = plan_for(job, settings=ALL, jobs=(batch_job(),), pods=pods, now=at(60))
    assert [attempt.reason for attempt in late.status.attempts] == ["PodDeleted"]


def test_pods_that_still_end_when_their_job_goes_on_are_no_failure():
    job = queued_job(running())
    pods = (deleted(pod(0), seconds=-5), deleted(pod(1), seconds=-5))
    plan = plan_for(
        job, settings=ALL, jobs=(batch_job(started_time=at(-2)),), pods=pods, now=at(60)
    )
    assert plan.status.attempts == []
