"""Where workers may run, what they find there, and whose job it is."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime

import pytest
from lepton_cluster.addons import fake_node

from install import SHAPES
from steps import EXISTING
from support import failed, until

OWN_NODES = pytest.mark.skipif(
    EXISTING, reason="nodes of an existing cluster are not ours to label"
)

LABELS = {
    "region": "topology.kubernetes.io/region",
    "zone": "topology.kubernetes.io/zone",
    "clique": "nvidia.com/gpu.clique",
}


@pytest.fixture
def labelled(kubectl):
    """Labels the real node; returns the function that does, and takes the labels away again."""
    (node,) = (
        item["metadata"]["name"]
        for item in json.loads(kubectl("get", "nodes", "-o", "json").stdout)["items"]
        if item["metadata"]["labels"].get("type") != "kwok"
    )
    keys = []

    def label(**labels):
        for key, value in labels.items():
            kubectl("label", "node", node, "--overwrite", f"{LABELS[key]}={value}")
            keys.append(LABELS[key])
        return node

    yield label
    for key in keys:
        kubectl("label", "node", node, f"{key}-")


def test_a_job_that_another_controller_manages_is_left_alone(jobs):
    jobs.apply("theirs", command=["true"], managedBy="example.com/other")
    jobs.apply("ours", command=["true"], managedBy="training.lepton.ai/lepton-operator")
    assert jobs.finished("ours")["phase"] == "Complete"
    assert jobs.status("theirs") == {}
    assert jobs.items("jobs", "training.lepton.ai/job-name=theirs") == []
    body = json.dumps({"spec": {"managedBy": "training.lepton.ai/lepton-operator"}})
    done = jobs.kubectl("patch", "ltj", "theirs", "--type=merge", "-p", body, check=False)
    assert done.returncode != 0
    assert "managedBy can't change" in done.stderr


def test_shared_memory_has_the_size_that_was_asked_for(jobs):
    program = """
import os
found = os.statvfs("/dev/shm")
size = found.f_frsize * found.f_blocks
open("/dev/shm/data", "wb").write(bytes(1 << 20))
assert size == 32 << 20, size
"""
    jobs.apply(
        "shm",
        command=["python3", "-c", program],
        resources={"limits": {"memory": "256Mi"}},
        sharedMemory="32Mi",
        failurePolicy={"maxRestarts": 0},
    )
    status = jobs.finished("shm")
    assert status["phase"] == "Complete", status


def test_pods_get_the_priority_class(jobs, kubectl):
    name = f"lepton-{uuid.uuid4().hex[:8]}"
    kubectl("create", "priorityclass", name, "--value=1")
    try:
        jobs.apply("urgent", command=["true"], scheduling={"priorityClassName": name})
        assert jobs.finished("urgent")["phase"] == "Complete"
        (pod,) = jobs.items("pods")
        assert pod["spec"]["priorityClassName"] == name
    finally:
        kubectl("delete", "priorityclass", name)


@OWN_NODES
def test_a_job_runs_in_its_regions_and_zones_and_shows_it(jobs, labelled):
    node = labelled(region="north", zone="north-a")
    near = {"regions": ["north", "south"], "zones": ["north-a", "north-b"]}
    far = {
        "elsewhere": {"regions": ["south"], "zones": ["north-a"]},
        "next-door": {"regions": ["north"], "zones": ["north-b"]},
    }
    for name, scheduling in far.items():
        jobs.apply(name, command=["true"], scheduling=scheduling, pendingDeadlineSeconds=10)
    jobs.apply("here", command=["true"], scheduling=near)
    jobs.apply("zone", command=["true"], scheduling={"zones": ["north-a"]})
    for name in ("here", "zone"):
        status = jobs.finished(name)
        assert status["phase"] == "Complete"
        assert status["placement"] == {"nodes": [node], "regions": ["north"]}
    for name in far:
        status = jobs.finished(name)
        assert failed(status)["reason"] == "PendingDeadlineExceeded"
        assert "not among the nodes that the job asks for" in failed(status)["message"]
        assert "placement" not in status


def test_workers_get_what_the_administrator_says_that_their_shape_is(jobs):
    jobs.apply("shaped", command=["true"], workers=2, resourceShape="small")
    assert jobs.finished("shaped")["phase"] == "Complete"
    pods = jobs.items("pods")
    assert len(pods) == 2
    shape = SHAPES["small"]
    for spec in (pod["spec"] for pod in pods):
        assert [container["resources"] for container in spec["containers"]] == [shape["resources"]]
        assert spec["nodeSelector"] == shape["nodeSelector"]
        assert all(toleration in spec["tolerations"] for toleration in shape["tolerations"])


def test_an_unknown_shape_is_refused_with_those_that_there_are(jobs):
    jobs.apply("shape", command=["true"], resourceShape="no-such-shape")
    told = failed(jobs.finished("shape"))
    assert told["reason"] == "InvalidSpec"
    assert told["message"] == (
        'spec.resourceShape: Unsupported value: "no-such-shape": supported values: "small"'
    )
    assert jobs.items("jobs") == []

    def events():
        return [(event["reason"], event["message"]) for event in jobs.items("events")]

    until("an event says so", lambda: ("InvalidSpec", told["message"]) in events())


def test_a_job_that_names_no_region_shows_its_nodes_alone(jobs):
    jobs.apply("anywhere", command=["true"])
    placement = jobs.finished("anywhere")["placement"]
    assert len(placement["nodes"]) == 1
    assert "regions" not in placement


@OWN_NODES
def test_segments_wait_for_a_domain_and_run_in_it(jobs, labelled):
    # Both in one test: the domain of one would be the other's, too.
    names = {segment: f"segments-{segment}" for segment in (2, 4)}
    for segment, name in names.items():
        scheduling = {"segmentSize": segment}
        jobs.apply(name, command=["sleep", "5"], workers=4, scheduling=scheduling)
    until("the workers exist", lambda: len(jobs.items("pods")) == 8)
    for name in names.values():
        jobs.until(name, "waits", lambda s: "can't be placed" in str(s.get("conditions")))
    labelled(clique="a.0")
    for name in names.values():
        assert jobs.finished(name)["phase"] == "Complete"


@pytest.fixture
def domains(kubectl):
    """Two nodes in an interconnect domain each; returns their names. Nobody plays them, so what is
    placed there never runs."""
    nodes = [fake_node(number) for number in (90_001, 90_002)]
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now}
    for number, node in enumerate(nodes):
        node["metadata"]["labels"][LABELS["clique"]] = f"c.{number}"
        node["status"]["conditions"] = [ready]
    listed = {"apiVersion": "v1", "kind": "List", "items": nodes}
    kubectl("create", "-f", "-", input=json.dumps(listed))
    names = [node["metadata"]["name"] for node in nodes]

    def taints():
        listed = json.loads(kubectl("get", "nodes", *names, "-o", "json").stdout)["items"]
        return {taint["key"] for node in listed for taint in node["spec"].get("taints", ())}

    # Each is born with a taint of its own time, and a domain that may not be entered is none.
    until("both may be entered", lambda: "node.kubernetes.io/not-ready" not in taints())
    yield names
    kubectl("delete", "nodes", *names)


@OWN_NODES
def test_segments_of_one_job_share_domains_out(jobs, domains):
    template = {
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    }
    for segment in (2, 4):
        jobs.apply(
            f"of-{segment}",
            command=["true"],
            workers=4,
            template=template,
            scheduling={"segmentSize": segment},
        )

    def places(segment):
        pods = jobs.items("pods", f"training.lepton.ai/job-name=of-{segment}")
        return Counter(pod["spec"].get("nodeName") for pod in pods)

    for segment in (2, 4):
        until(
            "all workers are placed",
            lambda s=segment: sum(n for node, n in places(s).items() if node in domains) == 4,
        )
    assert len(places(4)) == 1
    assert len(places(2)) == 2
