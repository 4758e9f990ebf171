"""What the API server is given at `up`: DNS, the StorageClass, metrics, the nodes of kwok. Pure."""

import base64
from dataclasses import dataclass
from typing import Any

from .configuration import GPUS, METRICS_PORT
from .layout import INSIDE
from .network import DNS_SERVICE

COREDNS_IMAGE = "localhost/lepton-cluster/coredns:1"
VOLUME_IMAGE = "localhost/lepton-cluster/volume-helper:1"

# What a node with NVIDIA's device plugin and feature discovery looks like.
GPU_LABELS = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.count": str(GPUS),
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "topology.kubernetes.io/region": "region-1",
    "topology.kubernetes.io/zone": "zone-1",
}

COREFILE = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa
    cache 5
}
"""


@dataclass(frozen=True)
class Manifest:
    """An object and the path that it is applied to."""

    path: str
    body: dict[str, Any]


def _manifest(
    version: str, kind: str, plural: str, name: str, namespace: str = "", **fields: Any
) -> Manifest:
    prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    metadata: dict[str, Any] = {"name": name, **fields.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
    return Manifest(f"{prefix}{scope}/{plural}/{name}", body)


RBAC = "rbac.authorization.k8s.io"


def dns() -> list[Manifest]:
    labels = {"k8s-app": "kube-dns"}
    container = {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "30Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    core = ["endpoints", "services", "pods", "namespaces"]
    return [
        _manifest("v1", "ServiceAccount", "serviceaccounts", "coredns", "kube-system"),
        _manifest(
            f"{RBAC}/v1", "ClusterRole", "clusterroles", "system:coredns",
            rules=[
                {"apiGroups": [""], "resources": core, "verbs": ["list", "watch"]},
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        ),
        _manifest(
            f"{RBAC}/v1", "ClusterRoleBinding", "clusterrolebindings", "system:coredns",
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:coredns"},
            subjects=[{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        ),
        _manifest(
            "v1", "ConfigMap", "configmaps", "coredns", "kube-system", data={"Corefile": COREFILE}
        ),
        _manifest(
            "apps/v1", "Deployment", "deployments", "coredns", "kube-system",
            spec={
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        ),
        _manifest(
            "v1", "Service", "services", "kube-dns", "kube-system",
            spec={
                "clusterIP": DNS_SERVICE,
                "selector": labels,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        ),
    ]  # fmt: skip


def storage() -> list[Manifest]:
    return [
        _manifest("v1", "Namespace", "namespaces", "local-path-storage"),
        _manifest(
            "storage.k8s.io/v1", "StorageClass", "storageclasses", "local-path",
            metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            provisioner="rancher.io/local-path",
            volumeBindingMode="WaitForFirstConsumer",
            reclaimPolicy="Delete",
        ),
    ]  # fmt: skip


def proxy_access() -> list[Manifest]:
    """The role exists in every cluster; kubeadm would bind it."""
    name = "lepton-cluster:kube-proxy"
    return [
        _manifest(
            f"{RBAC}/v1", "ClusterRoleBinding", "clusterrolebindings", name,
            roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:node-proxier"},
            subjects=[{"apiGroup": RBAC, "kind": "User", "name": "system:kube-proxy"}],
        )
    ]  # fmt: skip


METRICS_API = "v1beta1.metrics.k8s.io"


def metrics(node_address: str, authority: bytes) -> list[Manifest]:
    """Makes metrics-server, a process on the node, part of the API. `authority` is a PEM text."""
    name, namespace, port = "metrics-server", "kube-system", {"name": "https", "protocol": "TCP"}
    return [
        _manifest(
            "v1", "Service", "services", name, namespace,
            spec={"ports": [{**port, "port": 443, "targetPort": METRICS_PORT}]},
        ),
        _manifest(
            "discovery.k8s.io/v1", "EndpointSlice", "endpointslices", name, namespace,
            metadata={"labels": {"kubernetes.io/service-name": name}},
            addressType="IPv4",
            endpoints=[{"addresses": [node_address]}],
            ports=[{**port, "port": METRICS_PORT}],
        ),
        _manifest(
            "apiregistration.k8s.io/v1", "APIService", "apiservices", METRICS_API,
            spec={
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "service": {"name": name, "namespace": namespace},
                "caBundle": base64.b64encode(authority).decode(),
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        ),
    ]  # fmt: skip


def volume_settings() -> dict[str, Any]:
    """local-path-provisioner's configuration."""
    return {
        "nodePathMap": [
            {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{INSIDE}/volumes"]}
        ],
        "setupCommand": "/volume-helper",
        "teardownCommand": "/volume-helper",
    }


def volume_helper_pod() -> dict[str, Any]:
    container = {
        "name": "volume-helper",
        "image": VOLUME_IMAGE,
        "imagePullPolicy": "Never",
        "securityContext": {"runAsUser": 0},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "volume-helper"},
        "spec": {
            "priorityClassName": "system-node-critical",
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def fake_node(number: int) -> dict[str, Any]:
    """A node that kwok plays: 8 GPUs, in one of three zones; ordinary pods do not land on it."""
    name = f"kwok-{number:05d}"
    resources = {
        "cpu": "64",
        "memory": "512Gi",
        "ephemeral-storage": "1Ti",
        "pods": "250",
        "nvidia.com/gpu": str(GPUS),
    }
    zone = number % 3 + 1
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "type": "kwok",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **GPU_LABELS,
                "topology.kubernetes.io/zone": f"zone-{zone}",
            },
        },
        "spec": {
            "taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]
        },
        "status": {"capacity": resources, "allocatable": resources},
    }


RUN_FOR = "lepton.test/run-for"
"""Annotation of a pod on a kwok node: how long it runs, such as 40s, before it ends well."""

_ENDED = """\
{{ $now := Now }}
phase: Succeeded
conditions:
{{ range .status.conditions }}
- lastTransitionTime: {{ .lastTransitionTime | Quote }}
  status: {{ if eq .type "Ready" "ContainersReady" }}"False"{{ else }}{{ .status | Quote }}{{ end }}
  type: {{ .type | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  imageID: ""
  name: {{ .name | Quote }}
  ready: false
  restartCount: 0
  started: false
  state:
    terminated:
      exitCode: 0
      finishedAt: {{ $now | Quote }}
      reason: Completed
      startedAt: {{ $now | Quote }}
{{ end }}
"""


def timed_stage() -> dict[str, Any]:
    """A stage of kwok for pods that say how long they run. Others that a Job owns end at once."""
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": "pod-complete-later"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchExpressions": [
                    {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                    {"key": ".status.phase", "operator": "In", "values": ["Running"]},
                    {"key": f'.metadata.annotations["{RUN_FOR}"]', "operator": "Exists"},
                ]
            },
            # The stage that ends pods at once has no weight.
            "weight": 1,
            "delay": {"durationFrom": {"expressionFrom": f'.metadata.annotations["{RUN_FOR}"]'}},
            "next": {"statusTemplate": _ENDED},
        },
    }
