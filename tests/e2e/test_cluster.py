"""The embedded cluster is what the operator's tests take it for."""

import json
import os
from typing import Any

import pytest
from lepton_cluster.addons import VOLUME_IMAGE

from support import Kubectl, until

Json = dict[str, Any]

# The user's own cluster need not have its node and images.
pytestmark = pytest.mark.skipif(
    os.environ.get("CLUSTER") == "existing", reason="about the embedded cluster"
)

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def makes_a_folder(path: str, gpus: int = 0) -> Json:
    """A container of the one image that every embedded cluster holds."""
    container: Json = {
        "name": "main",
        "image": VOLUME_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-a", "create"],
        "env": [{"name": "VOL_DIR", "value": path}],
        "securityContext": RESTRICTED,
    }
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return container


def apply(kubectl: Kubectl, namespace: str, *objects: Json) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl("-n", namespace, "apply", "-f", "-", input=json.dumps(items))


def test_the_node_offers_eight_gpus(kubectl: Kubectl) -> None:
    node = json.loads(kubectl("get", "node", "node-1", "-o", "json").stdout)
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "8"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"


def test_what_pods_use_is_measured(kubectl: Kubectl) -> None:
    measured = until(
        "DNS is measured",
        lambda: kubectl("top", "pods", "-n=kube-system", "--no-headers", check=False).stdout,
    )
    name, cpu, memory = measured.split()
    assert name.startswith("coredns-")
    assert cpu.endswith("m")
    assert memory.endswith("Mi")


def test_a_claim_is_provisioned_for_a_pod_of_an_ordinary_user(
    kubectl: Kubectl, namespace: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    container = makes_a_folder("/data/run/model")
    container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"fsGroup": 65532},
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    apply(kubectl, namespace, claim, pod)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("-n", namespace, "wait", done, "pod/writer", "--timeout=60s")


def gang(name: str, gpus: int) -> tuple[Json, Json]:
    """Two pods that are to run together or not at all."""
    group = {
        "apiVersion": "scheduling.k8s.io/v1beta1",
        "kind": "PodGroup",
        "metadata": {"name": name},
        "spec": {"schedulingPolicy": {"gang": {"minCount": 2}}},
    }
    pod = {
        "restartPolicy": "Never",
        "schedulingGroup": {"podGroupName": name},
        "containers": [makes_a_folder("/tmp/made/by-test", gpus)],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": 2,
            "parallelism": 2,
            "backoffLimit": 0,
            "template": {"spec": pod},
        },
    }
    return group, job


def scheduling_of(kubectl: Kubectl, namespace: str, group: str) -> str:
    shown = kubectl("-n", namespace, "get", "podgroup", group, "-o", "json").stdout
    conditions = json.loads(shown).get("status", {}).get("conditions", [])
    by_type = {condition["type"]: condition["status"] for condition in conditions}
    return str(by_type.get("PodGroupInitiallyScheduled", ""))


def test_a_gang_runs_as_a_whole_or_not_at_all(kubectl: Kubectl, namespace: str) -> None:
    apply(kubectl, namespace, *gang("too-large", gpus=5))
    until(
        "the gang that does not fit is refused",
        lambda: scheduling_of(kubectl, namespace, "too-large") == "False",
    )
    template = "-o=jsonpath={.items[*].spec.nodeName}"
    selected = ("get", "pods", "-l", "job-name=too-large", template)
    assert kubectl("-n", namespace, *selected).stdout == ""
    apply(kubectl, namespace, *gang("fits", gpus=1))
    until(
        "the gang that fits is scheduled",
        lambda: scheduling_of(kubectl, namespace, "fits") == "True",
    )
