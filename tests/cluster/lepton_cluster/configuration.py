"""The configuration files of the components. Pure: dictionaries and texts, no I/O.

What is a dictionary here is written as JSON, which is YAML too.
"""

import base64
from dataclasses import dataclass
from typing import Any

from .layout import INSIDE, INSIDE_PACKAGES
from .network import API_SERVICE, DNS_SERVICE, POD_NETWORK

Document = dict[str, Any]

NODE = "node-1"
GPUS = 8
API_PORT = 6443
REGISTRY_PORT = 5000
METRICS_PORT = 4443
CONTAINERD = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/lepton-cluster/pause:1"


@dataclass(frozen=True)
class Credentials:
    """PEM texts for a kubeconfig that has to stand alone."""

    authority: bytes
    certificate: bytes
    key: bytes


def kubeconfig(server: str, cluster: Document, user: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lepton", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "lepton", "user": user}],
        "contexts": [{"name": "lepton", "context": {"cluster": "lepton", "user": "lepton"}}],
        "current-context": "lepton",
    }


def component_kubeconfig(identity: str) -> Document:
    """For a component inside, by the files of its certificate."""
    return kubeconfig(
        f"https://127.0.0.1:{API_PORT}",
        {"certificate-authority": f"{INSIDE}/pki/ca.crt"},
        {
            "client-certificate": f"{INSIDE}/pki/{identity}.crt",
            "client-key": f"{INSIDE}/pki/{identity}.key",
        },
    )


def user_kubeconfig(address: str, credentials: Credentials) -> Document:
    """For people and programs on the host."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return kubeconfig(
        f"https://{address}:{API_PORT}",
        {"certificate-authority-data": text(credentials.authority)},
        {
            "client-certificate-data": text(credentials.certificate),
            "client-key-data": text(credentials.key),
        },
    )


def audit_policy() -> Document:
    """Metadata of every request, except the reads and leases of the cluster's own components.

    Those are most of all requests and tell nothing about what runs on the cluster.
    """
    components = [
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:kube-proxy",
        f"system:node:{NODE}",
        "local-path-provisioner",
        "metrics-server",
        "kwok",
    ]
    reads = ["get", "list", "watch"]
    lease = {"group": "coordination.k8s.io", "resources": ["leases"]}
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            {"level": "None", "users": components, "verbs": reads},
            {"level": "None", "users": components, "resources": [lease]},
            {
                "level": "None",
                "userGroups": ["system:serviceaccounts:kube-system"],
                "verbs": reads,
            },
            {"level": "Metadata"},
        ],
    }


def containerd() -> str:
    return f"""\
version = 2
root = "{INSIDE}/containerd"
state = "/run/containerd"
# Snapshotters that need a special file system, and a plugin that makes /opt/containerd.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
address = "{CONTAINERD}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
disable_apparmor = true
# runc cannot lower its own oom_score_adj where the whole cluster runs with a raised one.
restrict_oom_score_adj = true
enable_unprivileged_ports = true
enable_unprivileged_icmp = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{INSIDE_PACKAGES}/usr/lib/cni"
conf_dir = "{INSIDE}/config/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
# The compressed layers of a trainer image are gigabytes, and the registry has them.
discard_unpacked_layers = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{INSIDE}/config/registries"
"""


def registry_hosts() -> str:
    """Maps the registry name `localhost` to the cluster's own: names do not depend on ports."""
    address = f"http://127.0.0.1:{REGISTRY_PORT}"
    return f"""\
server = "{address}"

[host."{address}"]
capabilities = ["pull", "resolve"]
"""


def registry() -> Document:
    return {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": f"{INSIDE}/registry"},
            "delete": {"enabled": True},
        },
        "http": {"addr": f":{REGISTRY_PORT}"},
    }


def cni() -> Document:
    """Every pod has a routed pair of its own.

    Between pods on one bridge a Service's reply would bypass the translation of its address,
    unless the kernel has br_netfilter. Masquerading is done by one rule of our own (`node.py`),
    where the plugin would need iptables.
    """
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{"subnet": str(POD_NETWORK)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def masquerade(interface: str = "eth0") -> str:
    """An nft script: pods leave the cluster under the node's address."""
    return f"""\
table ip lepton {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr {POD_NETWORK} oifname "{interface}" masquerade
    }}
}}
"""


def kubelet(cgroup: str, cgroup_version: int) -> Document:
    settings: Document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{INSIDE}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{INSIDE}/pki/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{INSIDE}/pki/kubelet-server.key",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "podLogsDir": f"{INSIDE}/pod-logs",
        "resolvConf": f"{INSIDE}/config/resolv.conf",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "maxPods": 250,
        "registerNode": True,
        # Probes of a busy two-core machine must not wait behind image pulls.
        "serializeImagePulls": False,
        "maxParallelImagePulls": 2,
        # The trainer image is large and cannot be pulled from elsewhere: never collect images.
        "imageGCHighThresholdPercent": 100,
        # Nearly off, since a developer's disk is often fuller than a node's. Zero is refused for
        # memory.
        "evictionHard": {
            "imagefs.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "memory.available": "1Mi",
        },
        # Ready sooner after a start; the default looks every 10 s and 5 min.
        "nodeStatusUpdateFrequency": "5s",
    }
    if cgroup_version == 1:
        settings["failCgroupV1"] = False
    return settings


def proxy() -> Document:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE,
        "clusterCIDR": str(POD_NETWORK),
        "clientConnection": {"kubeconfig": f"{INSIDE}/config/proxy.kubeconfig"},
        # Limits of connection tracking may be set in the host's network namespace only.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpCloseWaitTimeout": "0s",
            "tcpEstablishedTimeout": "0s",
        },
        "nftables": {"minSyncPeriod": "100ms"},
    }


def api_addresses(node_address: str) -> tuple[str, ...]:
    return ("127.0.0.1", API_SERVICE, node_address)
