"""The cluster's own certificate authority and the certificates of its components."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ClusterError

# A development cluster starts anew, with new certificates, at each `up`.
DAYS = "365"
# The API server, where it asks an aggregated one on behalf of a client.
FRONT_PROXY = "front-proxy"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A client or a server: `name` is the file, the rest goes into the certificate."""

    name: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = field(default=())
    """DNS names and IP addresses of a server, as `DNS:…` and `IP:…`; none for a client."""


def identities(
    node: str, node_address: str, api_addresses: tuple[str, ...]
) -> tuple[Identity, ...]:
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local")
    metrics = "metrics-server.kube-system.svc"
    api = tuple(f"DNS:{name}" for name in names) + tuple(f"IP:{ip}" for ip in api_addresses)
    return (
        Identity("api", "kube-apiserver", addresses=api),
        Identity("kubelet-server", node, addresses=(f"DNS:{node}", f"IP:{node_address}")),
        Identity("metrics-server", metrics, addresses=(f"DNS:{metrics}",)),
        Identity("front-proxy", FRONT_PROXY),
        Identity("kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Identity("admin", "admin", "system:masters"),
        Identity("kubelet", f"system:node:{node}", "system:nodes"),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("proxy", "system:kube-proxy"),
        # Their own names, so that the audit log tells them from the people who use the cluster.
        Identity("volumes", "local-path-provisioner", "system:masters"),
        Identity("kwok", "kwok", "system:masters"),
        Identity("metrics", "metrics-server", "system:masters"),
    )


def create(folder: Path, wanted: tuple[Identity, ...]) -> None:
    """Writes `ca`, `service-accounts` and one pair of files for each identity."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    authority = folder / "ca"
    _openssl(
        "req", "-x509", *KEY, "-days", DAYS, "-subj", "/CN=lepton-cluster",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", f"{authority}.key", "-out", f"{authority}.crt",
    )  # fmt: skip
    for identity in wanted:
        _issue(folder, authority, identity)
    tokens = folder / "service-accounts"
    _openssl(
        "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-out", f"{tokens}.key",
    )  # fmt: skip
    _openssl("pkey", "-in", f"{tokens}.key", "-pubout", "-out", f"{tokens}.pub")


def _issue(folder: Path, authority: Path, identity: Identity) -> None:
    subject = f"/O={identity.organization}" if identity.organization else ""
    usage = "serverAuth" if identity.addresses else "clientAuth"
    names = ("-addext", f"subjectAltName={','.join(identity.addresses)}")
    _openssl(
        "req", "-x509", *KEY, "-days", DAYS,
        "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key",
        "-subj", f"{subject}/CN={identity.common_name}",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature",
        "-addext", f"extendedKeyUsage={usage}",
        *(names if identity.addresses else ()),
        "-keyout", str(folder / f"{identity.name}.key"),
        "-out", str(folder / f"{identity.name}.crt"),
    )  # fmt: skip


def _openssl(*arguments: str) -> None:
    command = ["openssl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(
            f"`openssl {arguments[0]}` failed: {done.stderr.strip()[-500:]}",
            advice="OpenSSL 3.0 or newer is needed.",
        )
