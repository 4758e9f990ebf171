"""Which nodes are suspect, which would take a pod, and which are avoided."""

from dataclasses import replace
from decimal import Decimal

import pytest
from situations import (
    at,
    counted,
    ended,
    failed_job,
    kinds,
    plan_for,
    running,
    training_job,
)

from lepton_operator.api.names import Reason
from lepton_operator.reconcile.nodes import avoided, may_run_on, requests, suspects
from lepton_operator.reconcile.observed import NodeView, Taint
from lepton_operator.reconcile.plan import LookUp

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def died(*where, attempt=None, **more):
    """A job whose attempts were ended by the infrastructure on these nodes."""
    entry = {"class": "Infrastructure", "reason": "NodeLost", **more}
    attempts = [{**entry, "number": n, "node": node} for n, node in enumerate(where, 1)]
    return counted(attempt or len(where) + 1, attempts=attempts)


def suspected(*where, **more):
    return suspects(training_job(died(*where, **more)).status)


def test_a_node_is_suspect_after_the_second_death():
    assert suspected("a", "b") == ()
    assert suspected("a", "b", "a") == ("a",)


def test_the_worst_comes_first_and_then_the_latest():
    assert suspected("a", "a", "b", "c", "b", "c", "b") == ("b", "c", "a")


def test_only_the_infrastructures_own_failures_count():
    assert suspected("a", "a", reason="Preempted") == ()
    assert suspected("a", "a", **{"class": "Application"}) == ()
    assert suspected("a", "a", reason="PodDeleted") == ("a",)
    assert suspected("a", "a", reason="Rejected") == ("a",)
    assert suspected("a", "a", reason="ContainerCannotStart") == ("a",)


def node(name="a", *taints, **labels):
    return NodeView(name, labels, tuple(Taint(*taint) for taint in taints), {})


def with_gpus(name, count, cpu=64):
    amounts = {"cpu": Decimal(cpu), "nvidia.com/gpu": Decimal(count)}
    return replace(node(name), allocatable=amounts if count else {"cpu": Decimal(cpu)})


def asking(**resources):
    """A pod of one container with these requests and limits."""
    return {"containers": [{"resources": resources}]}


EIGHT_GPUS = asking(limits={"nvidia.com/gpu": 8})


def with_terms(*terms):
    return {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("pod", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"pool": "gpu"}}, True),
        ({"nodeSelector": {"pool": "cpu"}}, False),
        ({"nodeSelector": {"other": "gpu"}}, False),
        (with_terms(expression("pool", "In", "gpu", "x")), True),
        (with_terms(expression("pool", "In", "x")), False),
        (with_terms(expression("pool", "NotIn", "gpu")), False),
        (with_terms(expression("other", "NotIn", "gpu")), True),
        (with_terms(expression("pool", "Exists")), True),
        (with_terms(expression("other", "Exists")), False),
        (with_terms(expression("other", "DoesNotExist")), True),
        (with_terms(expression("gpus", "Gt", "4")), True),
        (with_terms(expression("gpus", "Lt", "4")), False),
        (with_terms(expression("pool", "Gt", "4")), False),
        (with_terms(expression("pool", "Near", "gpu")), False),
        (with_terms(expression("pool", "In", "x"), expression("pool", "In", "gpu")), True),
        (with_terms({}), False),
        (with_terms({"matchFields": expression("metadata.name", "NotIn", "a")["matchExpressions"]}),
         False),
        ({"affinity": {"nodeAffinity": {}, "podAffinity": {}}}, True),
    ],
)  # fmt: skip
def test_a_pod_may_run_on_a_node_that_its_selector_and_affinity_fit(pod, fits):
    assert may_run_on(node("a", pool="gpu", gpus="8"), pod) is fits


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        (None, False),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_tainted_node_takes_a_pod_that_tolerates_it(toleration, fits):
    pod = {"tolerations": [toleration]} if toleration else {}
    assert may_run_on(node("a", ("gpu", "yes", "NoSchedule")), pod) is fits


def test_at_most_half_of_the_nodes_that_would_take_the_pod_are_avoided():
    nodes = [node(name) for name in "abcde"]
    assert avoided(["a", "b", "c"], nodes, {}, 1) == ("a", "b")
    assert avoided(["a"], nodes[:1], {}, 1) == ()
    assert avoided(["a", "b"], nodes[:2], {}, 1) == ("a",)


def test_nodes_that_would_not_take_the_pod_are_no_half():
    full = ("dedicated", "control-plane", "NoSchedule")
    nodes = [node("a"), node("b"), *(node(name, full) for name in "xyz")]
    assert avoided(["a", "b"], nodes, {}, 1) == ("a",)


def test_nodes_that_are_too_small_for_the_pod_are_no_half():
    nodes = [with_gpus("gpu", 8), with_gpus("b", 0), with_gpus("c", 4)]
    assert avoided(["gpu"], nodes, EIGHT_GPUS, 1) == ()
    assert avoided(["gpu"], nodes, asking(limits={"nvidia.com/gpu": 4}), 1) == ("gpu",)
    assert avoided(["gpu"], nodes, asking(requests={"cpu": "500m"}), 1) == ("gpu",)


@pytest.mark.parametrize(("workers", "found"), [(1, ("a", "b")), (3, ("a",)), (4, ()), (5, ())])
def test_what_is_left_has_room_for_all_workers(workers, found):
    nodes = [with_gpus(name, 8) for name in "abcd"]
    assert avoided(["a", "b"], nodes, EIGHT_GPUS, workers) == found


def test_what_a_large_node_takes_beyond_the_jobs_workers_does_not_count():
    nodes = [with_gpus("a", 8), with_gpus("b", 800), with_gpus("c", 8)]
    assert avoided(["b"], nodes, EIGHT_GPUS, 2) == ("b",)
    assert avoided(["b"], nodes, EIGHT_GPUS, 3) == ()


def test_a_pod_requests_what_it_has_a_limit_for_unless_it_says_otherwise():
    pod = asking(limits={"cpu": "2", "nvidia.com/gpu": 1}, requests={"cpu": "500m", "memory": 0})
    assert requests(pod) == {"cpu": Decimal("0.5"), "nvidia.com/gpu": 1}
    assert requests({"containers": [{}]}) == {}


def test_a_suspect_that_is_away_is_avoided_for_free_and_one_that_is_gone_not_at_all():
    lost = node("a", ("node.kubernetes.io/unreachable", "", "NoSchedule"))
    assert avoided(["a", "b", "gone"], [lost, node("b")], {}, 1) == ("a",)


def test_a_suspect_that_is_away_is_not_avoided_where_no_other_node_would_do():
    lost = node("a", ("node.kubernetes.io/unreachable", "", "NoSchedule"))
    assert avoided(["a"], [lost], {}, 1) == ()
    no_device_is_healthy = with_gpus("gpu", 0)
    assert avoided(["gpu"], [no_device_is_healthy, with_gpus("b", 0)], EIGHT_GPUS, 1) == ()


def test_a_node_is_trimmed_to_what_keeps_pods_away_and_what_they_may_request():
    raw = {
        "metadata": {"name": "a", "labels": {"pool": "gpu"}},
        "spec": {
            "unschedulable": True,
            "taints": [
                {"key": "gpu", "effect": "NoSchedule"},
                {"key": "slow", "effect": "PreferNoSchedule"},
            ],
        },
        "status": {"images": ["many"], "allocatable": {"cpu": "3920m", "memory": "8Gi"}},
    }
    cordoned = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
    found = node("a", ("gpu", "", "NoSchedule"), cordoned, pool="gpu")
    amounts = {"cpu": Decimal("3.92"), "memory": Decimal(8 * 2**30)}
    assert NodeView.from_object(raw) == replace(found, allocatable=amounts)
    assert NodeView.from_object({"metadata": {"name": "b"}}) == node("b")


def test_the_next_attempt_keeps_away_from_a_suspect_and_says_so():
    job = training_job(died("a", "a"))
    asking = plan_for(job, now=at(600))
    assert asking.look_up == LookUp(nodes=True)
    assert asking.create == ()
    plan = plan_for(job, now=at(600), nodes=(node("a"), node("b")))
    assert plan.status.placement.avoided == ["a"]
    assert plan.urgent
    (event,) = plan.events
    assert event.reason is Reason.AVOIDING_NODES
    assert event.message == "attempt 3 keeps away from a, where attempts died"
    affinity = plan.create[0]["spec"]["template"]["spec"]["affinity"]
    (term,) = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]}
    written = training_job(plan.status.to_json_object())
    again = plan_for(written, now=at(601), nodes=(node("a"), node("b")))
    assert (again.status, again.events) == (plan.status, ())
    assert again.create == plan.create


def test_a_node_that_no_other_is_large_enough_for_is_not_avoided():
    job = training_job(died("a", "a"), resources={"limits": {"nvidia.com/gpu": 8}})
    nodes = (with_gpus("a", 8), with_gpus("b", 0), with_gpus("c", 0))
    plan = plan_for(job, now=at(600), nodes=nodes)
    assert plan.status.placement is None
    assert kinds(plan.create) == [("Job", "job-3")]


def test_the_only_node_is_not_avoided():
    plan = plan_for(training_job(died("a", "a")), now=at(600), nodes=(node("a"),))
    assert plan.status.placement is None
    assert plan.events == ()
    assert kinds(plan.create) == [("Job", "job-3")]


def test_a_job_can_be_told_not_to_avoid_nodes():
    job = training_job(died("a", "a"), failurePolicy={"avoidFailedNodes": False})
    plan = plan_for(job, now=at(600))
    assert plan.look_up is None
    assert kinds(plan.create) == [("Job", "job-3")]


def test_nodes_are_looked_up_when_an_attempt_starts_and_not_while_it_waits():
    job = training_job(died("a", "a"))
    waiting = plan_for(job, now=at(600), pods=(ended(0), ended(1, phase="Running")))
    assert waiting.look_up is None
    status = running(3, attempts=died("a", "a")["attempts"])
    assert plan_for(training_job(status), jobs=(failed_job(attempt=3),)).look_up is None


def test_the_users_own_terms_all_get_the_requirement():
    mine = with_terms(expression("pool", "In", "x"), expression("pool", "In", "y"))
    job = training_job(died("a", "a"), template=mine)
    nodes = (node("a", pool="x"), node("b", pool="y"))
    plan = plan_for(job, now=at(600), nodes=nodes)
    affinity = plan.create[0]["spec"]["template"]["spec"]["affinity"]
    terms = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]
    assert terms == [
        {**expression("pool", "In", "x"), "matchFields": fields},
        {**expression("pool", "In", "y"), "matchFields": fields},
    ]


@pytest.mark.parametrize(
    "affinity",
    [
        {"nodeAffinity": "x"},
        {"nodeAffinity": {REQUIRED: "x"}},
        {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": "x"}}},
    ],
)
def test_an_affinity_that_is_none_is_left_to_the_api_server_to_refuse(affinity):
    job = training_job(died("a", "a"), template={"affinity": affinity})
    plan = plan_for(job, now=at(600), nodes=())
    assert plan.create[0]["spec"]["template"]["spec"]["affinity"] == affinity
