"""All workers or none: by Kubernetes' own scheduler, and by others, of which there are stand-ins.

Kueue, scheduler-plugins and Volcano are not installed here. What the tests do in their place is
what their documentation says that they do, and no more.
"""

import json

import pytest
import yaml

from steps import EXISTING
from support import condition, failed, until

EMBEDDED = pytest.mark.skipif(EXISTING, reason="about the embedded cluster's API and its GPUs")


def message(status, kind):
    return next((c["message"] for c in status.get("conditions", ()) if c["type"] == kind), "")


def ready_message(status):
    return message(status, "PodsReady")


@EMBEDDED
def test_a_gang_without_room_for_all_starts_nothing_and_says_why(jobs):
    jobs.apply(
        "large",
        command=["true"],
        workers=2,
        resources={"limits": {"nvidia.com/gpu": 5}},
    )
    status = jobs.until("large", "waits", lambda s: "placed together" in ready_message(s))
    assert "nvidia.com/gpu" in ready_message(status)
    assert all("nodeName" not in pod["spec"] for pod in jobs.items("pods"))
    (group,) = jobs.items("podgroups.scheduling.k8s.io")
    assert group["metadata"]["name"] == "large-1"
    jobs.kubectl("delete", "ltj", "large")
    until("the group is gone", lambda: not jobs.items("podgroups.scheduling.k8s.io"))


@EMBEDDED
def test_a_gang_that_fits_runs_and_its_group_goes_with_its_attempt(jobs):
    program = "import os, sys; sys.exit(int(os.environ['PET_RDZV_ID'].endswith('-1')))"
    jobs.apply(
        "fits",
        command=["python3", "-c", program],
        workers=2,
        scheduling={"gang": "Native"},
        failurePolicy={"backoffSeconds": 1},
    )
    assert jobs.finished("fits")["phase"] == "Complete"
    (first,) = [g for g in jobs.items("podgroups.scheduling.k8s.io")
                if g["metadata"]["name"] == "fits-2"]  # fmt: skip
    told = {c["type"]: c["status"] for c in first["status"]["conditions"]}
    assert told["PodGroupInitiallyScheduled"] == "True"


@EMBEDDED
@pytest.mark.parametrize("gang", ["Coscheduling", "Volcano", "Kueue"])
def test_a_gang_that_is_not_installed_is_refused(jobs, gang):
    queue = {"queue": "research"} if gang == "Kueue" else {}
    jobs.apply("refused", command=["true"], workers=2, scheduling={"gang": gang, **queue})
    status = jobs.finished("refused")
    assert failed(status)["reason"] == "InvalidSpec"
    assert f"{gang} is not there" in failed(status)["message"]


def stand_in(group, version):
    """A CustomResourceDefinition called like theirs, that takes whatever it is given."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"podgroups.{group}",
            # The API server wants to see that groups of the community were reviewed.
            "annotations": {"api-approved.kubernetes.io": "unapproved, stand-in of a test"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": "podgroups", "singular": "podgroup", "kind": "PodGroup",
                "listKind": "PodGroupList",
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }  # fmt: skip


KUEUE = stand_in("kueue.x-k8s.io", "v1beta1")
KUEUE["metadata"]["name"] = "workloads.kueue.x-k8s.io"
KUEUE["spec"]["names"] = {
    "plural": "workloads", "singular": "workload", "kind": "Workload", "listKind": "WorkloadList",
}  # fmt: skip
STAND_INS = [
    stand_in("scheduling.x-k8s.io", "v1alpha1"),
    stand_in("scheduling.volcano.sh", "v1beta1"),
    KUEUE,
]


@pytest.fixture
def stand_ins(kubectl, operator):
    """The APIs of the others; the operator, which asks once, is started again with and without."""

    def restart():
        kubectl("-n", operator, "rollout", "restart", "deployment", "lepton-operator")
        kubectl("-n", operator, "rollout", "status", "deployment", "lepton-operator")

    for definition in STAND_INS:
        kubectl("apply", "-f", "-", input=yaml.safe_dump(definition))
        name = definition["metadata"]["name"]
        kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{name}")
    restart()
    yield
    for definition in STAND_INS:
        kubectl("delete", "crd", definition["metadata"]["name"])
    restart()


@EMBEDDED
@pytest.mark.alone
def test_others_find_groups_and_queues_as_their_documentation_says(jobs, stand_ins):
    jobs.apply("cosched", command=["true"], workers=2, scheduling={"gang": "Coscheduling"})
    until("its pods exist", lambda: len(jobs.items("pods")) == 2)
    (group,) = jobs.items("podgroups.scheduling.x-k8s.io")
    assert group["spec"] == {"minMember": 2}
    for pod in jobs.items("pods"):
        name = group["metadata"]["name"]
        assert pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == name
        assert pod["spec"]["schedulerName"] == "scheduler-plugins-scheduler"
    jobs.kubectl("delete", "ltj", "cosched")

    jobs.apply(
        "volcano", command=["true"], workers=2, scheduling={"gang": "Volcano", "queue": "research"}
    )
    selector = "training.lepton.ai/job-name=volcano"
    until("its pods exist", lambda: len(jobs.items("pods", selector)) == 2)
    (group,) = jobs.items("podgroups.scheduling.volcano.sh")
    assert group["spec"] == {"minMember": 2, "queue": "research"}
    for pod in jobs.items("pods", selector):
        assert pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == "volcano-1"
        assert pod["spec"]["schedulerName"] == "volcano"
    why = {"type": "Unschedulable", "status": "True", "message": "2/2 tasks in gang unschedulable"}
    body = json.dumps({"status": {"conditions": [why]}})
    jobs.kubectl(
        "patch", "podgroups.scheduling.volcano.sh", "volcano-1", "--subresource=status",
        "--type=merge", "-p", body,
    )  # fmt: skip
    jobs.until("volcano", "says why it waits", lambda s: why["message"] in ready_message(s))


class Kueue:
    """Does to one Job what Kueue does when it keeps, admits and sends back."""

    def __init__(self, jobs, job):
        self.jobs, self.name = jobs, job["metadata"]["name"]
        self.workload = f"job-{self.name}"
        owner = {
            "apiVersion": "batch/v1", "kind": "Job", "name": self.name,
            "uid": job["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        workload = {
            "apiVersion": "kueue.x-k8s.io/v1beta1",
            "kind": "Workload",
            "metadata": {
                "name": self.workload,
                "labels": {"kueue.x-k8s.io/job-uid": owner["uid"]},
                "ownerReferences": [owner],
            },
            "spec": {"queueName": "research"},
        }
        jobs.kubectl("create", "-f", "-", input=json.dumps(workload))

    def patch(self, kind, name, body, *subresource):
        arguments = (kind, name, "--type=merge", "-p", json.dumps(body), *subresource)
        self.jobs.kubectl("patch", *arguments)

    def says(self, **conditions):
        """Set the Workload's conditions, each (status, reason, message)."""
        time = "2026-01-01T00:00:00Z"
        told = [
            {"type": kind, "status": status, "reason": reason, "message": text,
             "lastTransitionTime": time}
            for kind, (status, reason, text) in conditions.items()
        ]  # fmt: skip
        status = {"status": {"conditions": told}}
        self.patch("workloads.kueue.x-k8s.io", self.workload, status, "--subresource=status")

    def admits(self, flavor):
        """Let the Job run on the nodes of a flavor; None takes a label of an earlier one away."""
        self.says(
            QuotaReserved=("True", "QuotaReserved", "Quota reserved in ClusterQueue gpus"),
            Admitted=("True", "Admitted", "The workload is admitted"),
        )
        template = {"spec": {"nodeSelector": flavor}}
        self.patch("job", self.name, {"spec": {"suspend": False, "template": template}})

    def sends_back(self):
        """Preempt the Job, and make its template one that may be changed again."""
        self.says(
            QuotaReserved=("False", "Pending", "couldn't assign flavors to pod set main"),
            Admitted=("False", "NoReservation", "The workload has no reservation"),
            Evicted=("True", "Preempted", "Preempted to accommodate a workload (UID: 7)"),
        )
        self.patch("job", self.name, {"spec": {"suspend": True}})
        self.patch("job", self.name, {"status": {"startTime": None}}, "--subresource=status")


@EMBEDDED
@pytest.mark.alone
def test_a_queue_of_kueue_says_why_a_job_waits_and_on_which_nodes_it_runs(jobs, stand_ins):
    jobs.apply(
        "queued",
        command=["sleep", "3600"],
        workers=2,
        scheduling={"gang": "Kueue", "queue": "research"},
    )
    jobs.until("queued", "waits", lambda s: condition(s, "Admitted") == "False")
    job = jobs.get("job", "queued-1")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    kueue = Kueue(jobs, job)
    kueue.says(QuotaReserved=("False", "Inadmissible", "LocalQueue research doesn't exist"))
    why = "waits in queue research of Kueue: LocalQueue research doesn't exist (Inadmissible)"
    status = jobs.until("queued", "says why it waits", lambda s: why in message(s, "Admitted"))
    assert (status["phase"], ready_message(status)) == ("Pending", message(status, "Admitted"))

    selector = "training.lepton.ai/job-name=queued"
    kueue.admits({"kubernetes.io/os": "linux"})
    jobs.until("queued", "runs", lambda s: s["phase"] == "Running")
    pods = jobs.items("pods", selector)
    assert [pod["spec"]["nodeSelector"] for pod in pods] == [{"kubernetes.io/os": "linux"}] * 2

    kueue.sends_back()
    why = "sent back: Preempted to accommodate a workload (UID: 7) (Preempted); couldn't assign"
    status = jobs.until("queued", "says what happened", lambda s: why in message(s, "Admitted"))
    assert status["reason"] == "Queued"
    assert "attempts" not in status
    until("its pods are gone", lambda: not jobs.items("pods", selector))
    here = {"kubernetes.io/hostname": pods[0]["spec"]["nodeName"]}
    kueue.admits({"kubernetes.io/os": None, **here})
    jobs.until("queued", "runs again", lambda s: s["phase"] == "Running")
    assert [pod["spec"]["nodeSelector"] for pod in jobs.items("pods", selector)] == [here] * 2
    jobs.patch("queued", suspend=True)
    jobs.until("queued", "rests", lambda s: s["phase"] == "Suspended")
    assert jobs.items("jobs", selector) == []
    jobs.patch("queued", suspend=False)
    status = jobs.until("queued", "waits in its queue", lambda s: s["reason"] == "Queued")
    assert (status["attempt"], status["restarts"]) == (1, 0)
