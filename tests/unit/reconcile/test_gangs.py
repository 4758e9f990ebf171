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
from lepton_operator.reconcile.observed import GroupView, NoWorkload, WorkloadView
from lepton_operator.reconcile.plan import Deletion, LookUp, Wait

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
    assert kinds(plan.create) == [("Service", "lepton-workers"), ("Job", "job-1")]
    plan = plan_for(
        training_job(running(), workers=2), settings=ALL, jobs=(batch_job(),), pods=(pod(0), pod(1))
    )
    assert kinds(plan.create) == [("Service", "lepton-workers"), ("EndpointSlice", "job")]


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


def held(seconds):
    """A Job that its queue has kept for so long."""
    return batch_job(suspended=True, suspended_time=at(-seconds), started_time=None)


def workload(*conditions, checks=(), uid="job-uid-1", created="2026-01-01T12:00:00Z"):
    """Kueue's Workload of the job's first attempt."""
    names = ("type", "status", "reason", "message")
    return {
        "metadata": {"ownerReferences": [{"uid": uid}], "creationTimestamp": created},
        "status": {
            "conditions": [dict(zip(names, told, strict=True)) for told in conditions],
            "admissionChecks": list(checks),
        },
    }


NO_QUEUE = ("QuotaReserved", "False", "Inadmissible", "LocalQueue research doesn't exist")


def plan_while_queued(*workloads, **observed):
    """What is planned once Kueue was asked."""
    told = {"jobs": (held(60),), "workload": WorkloadView.of_job(workloads, "job-uid-1")}
    return plan_for(queued_job(counted()), settings=ALL, **(told | observed))


def told(plan):
    """What Admitted says after where the job waits."""
    message = condition(plan, ConditionType.ADMITTED).message
    assert message.startswith("Job job-1 waits in queue research of Kueue: ")
    return message.partition("Kueue: ")[2]


def test_kueue_is_asked_when_a_job_waits_for_a_while_and_then_now_and_then():
    def after(seconds):
        return plan_for(queued_job(counted()), settings=ALL, jobs=(held(seconds),))

    assert (after(0).look_up, after(0).again_in) == (None, at(5) - NOW)
    assert (after(2).look_up, after(2).again_in) == (None, at(3) - NOW)
    assert after(5).look_up == LookUp(wait=Wait("job-uid-1", at(-5)))
    answered = plan_while_queued(workload(NO_QUEUE))
    assert (answered.look_up, answered.again_in) == (None, at(30) - NOW)


@pytest.mark.parametrize(
    ("spec", "observed"),
    [
        ({}, {"jobs": (batch_job(),), "pods": (pod(0), pod(1))}),
        ({"suspend": True}, {"jobs": (held(60),)}),
        ({}, {"jobs": (held(60),), "settings": SETTINGS}),
    ],
    ids=["it runs", "it is to rest", "Kueue is not there"],
)
def test_kueue_is_not_asked_where_it_has_nothing_to_say(spec, observed):
    plan = plan_for(queued_job(counted(), **spec), **({"settings": ALL} | observed))
    assert plan.look_up is None


def test_what_keeps_a_job_in_its_queue_is_told_by_admitted_and_by_pods_ready():
    plan = plan_while_queued(workload(NO_QUEUE))
    assert told(plan) == "LocalQueue research doesn't exist (Inadmissible)"
    ready = condition(plan, ConditionType.PODS_READY)
    assert (ready.reason, ready.message) == (
        Reason.QUEUED,
        condition(plan, ConditionType.ADMITTED).message,
    )
    kept = replace(queued_job(counted()), status=plan.status)
    again = plan_for(kept, settings=ALL, jobs=(held(60),), workload=WorkloadView({}, ()))
    assert again.status != plan.status
    assert not again.urgent


PREEMPTED = ("Evicted", "True", "Preempted", "Preempted to accommodate a workload (UID: 7)")
NO_ROOM = ("QuotaReserved", "False", "Pending", "insufficient unused quota for nvidia.com/gpu")
RESERVED = ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue gpus")
CHECKS = (
    {"name": "budget", "state": "Ready", "message": "ok"},
    {"name": "nodes", "state": "Pending", "message": "waiting for a ProvisioningRequest"},
)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (workload(), "Kueue has not looked at it yet"),
        (workload(NO_ROOM), "insufficient unused quota for nvidia.com/gpu (Pending)"),
        (workload(("QuotaReserved", "False", "Pending", "")), "Pending"),
        (
            workload(PREEMPTED, NO_ROOM),
            "sent back: Preempted to accommodate a workload (UID: 7) (Preempted);"
            " insufficient unused quota for nvidia.com/gpu (Pending)",
        ),
        (
            workload(PREEMPTED, ("QuotaReserved", "False", "Pending", PREEMPTED[3])),
            "sent back: Preempted to accommodate a workload (UID: 7) (Preempted)",
        ),
        (
            workload(("Evicted", "False", "QuotaReserved", "Previously: Preempted"), RESERVED,
                     checks=CHECKS),
            "it has its quota, and waits for admission checks"
            " (nodes: waiting for a ProvisioningRequest (Pending))",
        ),
        (
            workload(RESERVED, ("Admitted", "True", "Admitted", "admitted by gpus")),
            "admitted, and about to start",
        ),
        (
            workload(NO_ROOM, ("Finished", "True", "OutOfSync", "not in sync with its job")),
            "finished, as Kueue has it: not in sync with its job (OutOfSync)",
        ),
    ],
)  # fmt: skip
def test_a_queued_job_says_what_kueue_says(found, text):
    assert told(plan_while_queued(found)) == text


def test_a_long_word_of_kueue_leaves_room_for_the_next():
    long = ("Evicted", "True", "Preempted", "x" * 5000)
    assert told(plan_while_queued(workload(long, NO_ROOM))).endswith("nvidia.com/gpu (Pending)")


def test_the_newest_workload_of_this_very_job_is_read():
    other = workload(NO_ROOM, uid="another", created="2026-01-01T13:00:00Z")
    first = workload(NO_QUEUE, created="2026-01-01T11:00:00Z")
    newest = workload(NO_ROOM, created="2026-01-01T12:00:00Z")
    assert "insufficient" in told(plan_while_queued(newest, first, other))
    assert "has made no Workload of it" in told(plan_while_queued(other))


def test_a_workload_that_can_not_be_read_is_no_reason_to_stop():
    plan = plan_while_queued(workload=NoWorkload.NOT_READABLE)
    assert told(plan) == "Kueue's Workloads can't be read"
    assert plan.again_in == at(30) - NOW
