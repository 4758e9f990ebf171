"""The command lines of the control plane and of the node. Pure."""

from dataclasses import dataclass

from .certificates import FRONT_PROXY
from .configuration import API_PORT, CONTAINERD, METRICS_PORT, NODE
from .layout import INSIDE, INSIDE_BINARIES, INSIDE_PACKAGES
from .network import SERVICE_NETWORK

KUBE = f"{INSIDE_BINARIES}/kube"
PKI = f"{INSIDE}/pki"
CONFIG = f"{INSIDE}/config"

# Native gang scheduling is beta in 1.37, and beta APIs are off by default.
GATES = "--feature-gates=GenericWorkload=true"
# Thousands of kwok nodes and pods would wait hours behind the default of 20 requests a second.
RATE = ("--kube-api-qps=200", "--kube-api-burst=400")


@dataclass(frozen=True)
class Component:
    name: str
    command: tuple[str, ...]
    process: str = ""
    """What the process is called, where that is not the component's name."""

    @property
    def process_name(self) -> str:
        return self.process or self.name


ETCD = Component(
    "etcd",
    (
        f"{INSIDE_BINARIES}/etcd",
        f"--data-dir={INSIDE}/etcd",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        # The store starts empty at each `up`: nothing in it has to survive a power cut.
        "--unsafe-no-fsync=true",
        "--log-level=warn",
        "--auto-compaction-retention=5m",
        "--quota-backend-bytes=8589934592",
    ),
)

CONTAINERD_SERVICE = Component(
    "containerd",
    (
        f"{INSIDE_PACKAGES}/usr/bin/containerd",
        f"--config={CONFIG}/containerd.toml",
        "--log-level=warn",
    ),
)

REGISTRY = Component(
    "registry",
    (f"{INSIDE_PACKAGES}/usr/bin/docker-registry", "serve", f"{CONFIG}/registry.json"),
    process="docker-registry",
)


def api_server(node_address: str) -> Component:
    return Component(
        "kube-apiserver",
        (
            KUBE,
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={node_address}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            f"--tls-cert-file={PKI}/api.crt",
            f"--tls-private-key-file={PKI}/api.key",
            f"--client-ca-file={PKI}/ca.crt",
            f"--kubelet-certificate-authority={PKI}/ca.crt",
            f"--kubelet-client-certificate={PKI}/kubelet-client.crt",
            f"--kubelet-client-key={PKI}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            # Aggregated API servers, of which metrics-server is one, believe who is asking when the
            # request comes with this certificate.
            f"--proxy-client-cert-file={PKI}/front-proxy.crt",
            f"--proxy-client-key-file={PKI}/front-proxy.key",
            f"--requestheader-client-ca-file={PKI}/ca.crt",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={PKI}/service-accounts.pub",
            f"--service-account-signing-key-file={PKI}/service-accounts.key",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--audit-policy-file={CONFIG}/audit-policy.json",
            f"--audit-log-path={INSIDE}/log/audit.log",
            "--audit-log-maxsize=500",
            "--audit-log-maxbackup=1",
            GATES,
            "--runtime-config=scheduling.k8s.io/v1beta1=true",
        ),
    )


CONTROLLER_MANAGER = Component(
    "kube-controller-manager",
    (
        KUBE,
        "kube-controller-manager",
        f"--kubeconfig={CONFIG}/controller-manager.kubeconfig",
        f"--authentication-kubeconfig={CONFIG}/controller-manager.kubeconfig",
        f"--authorization-kubeconfig={CONFIG}/controller-manager.kubeconfig",
        f"--root-ca-file={PKI}/ca.crt",
        f"--client-ca-file={PKI}/ca.crt",
        f"--service-account-private-key-file={PKI}/service-accounts.key",
        f"--cluster-signing-cert-file={PKI}/ca.crt",
        f"--cluster-signing-key-file={PKI}/ca.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # Three looks of an autoscaler where the default has one: tests wait for it.
        "--horizontal-pod-autoscaler-sync-period=5s",
        *RATE,
        GATES,
    ),
)

SCHEDULER = Component(
    "kube-scheduler",
    (
        KUBE,
        "kube-scheduler",
        f"--kubeconfig={CONFIG}/scheduler.kubeconfig",
        f"--authentication-kubeconfig={CONFIG}/scheduler.kubeconfig",
        f"--authorization-kubeconfig={CONFIG}/scheduler.kubeconfig",
        "--leader-elect=false",
        *RATE,
        GATES,
    ),
)


def kubelet(node_address: str, labels: dict[str, str]) -> Component:
    return Component(
        "kubelet",
        (
            KUBE,
            "kubelet",
            f"--config={CONFIG}/kubelet.json",
            f"--kubeconfig={CONFIG}/kubelet.kubeconfig",
            f"--root-dir={INSIDE}/kubelet",
            f"--cert-dir={INSIDE}/kubelet/pki",
            f"--hostname-override={NODE}",
            f"--node-ip={node_address}",
            "--node-labels=" + ",".join(f"{name}={value}" for name, value in labels.items()),
        ),
    )


PROXY = Component("kube-proxy", (KUBE, "kube-proxy", f"--config={CONFIG}/proxy.json"))

VOLUMES = Component(
    "local-path-provisioner",
    (
        f"{INSIDE_BINARIES}/local-path-provisioner",
        "start",
        f"--kubeconfig={CONFIG}/volumes.kubeconfig",
        f"--config={CONFIG}/volumes.json",
        f"--helper-pod-file={CONFIG}/volume-helper-pod.json",
        "--namespace=local-path-storage",
        "--service-account-name=default",
    ),
)

METRICS = Component(
    "metrics-server",
    (
        KUBE,
        "metrics-server",
        f"--kubeconfig={CONFIG}/metrics.kubeconfig",
        f"--authentication-kubeconfig={CONFIG}/metrics.kubeconfig",
        f"--authorization-kubeconfig={CONFIG}/metrics.kubeconfig",
        f"--secure-port={METRICS_PORT}",
        f"--tls-cert-file={PKI}/metrics-server.crt",
        f"--tls-private-key-file={PKI}/metrics-server.key",
        f"--kubelet-certificate-authority={PKI}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        # The shortest that it takes, and the kubelet measures no more often.
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
        # Nobody answers at the addresses of nodes that are only played.
        "--node-selector=type!=kwok",
    ),
)

KWOK = Component(
    "kwok",
    (
        f"{INSIDE_BINARIES}/kwok",
        f"--kubeconfig={CONFIG}/kwok.kubeconfig",
        f"--config={INSIDE_BINARIES}/kwok-stages.yaml",
        f"--config={CONFIG}/kwok-timed.json",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        # Addresses of pods that do not exist: outside of every network that is used here.
        "--cidr=10.128.0.0/10",
        "--node-ip=10.128.0.1",
        "--node-lease-duration-seconds=120",
        # It would write a line for each change of each node and pod.
        "--v=WARN",
    ),
)


def ctr(*arguments: str) -> list[str]:
    """containerd's own client, in the namespace that the kubelet's images live in."""
    return [f"{INSIDE_PACKAGES}/usr/bin/ctr", "-a", CONTAINERD, "-n", "k8s.io", *arguments]


def collect_registry_garbage() -> list[str]:
    """Each pushed version of a tag leaves its predecessor's layers behind."""
    registry, _, config = REGISTRY.command
    return [registry, "garbage-collect", "--delete-untagged", config]


def pull(*images: str) -> list[str]:
    return [f"{INSIDE_BINARIES}/pull", f"unix://{CONTAINERD}", *images]
