"""Where everything lies: in the checkout, in the user's cache, and inside the cluster."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent
CHECKOUT = SOURCES.parent.parent

# Inside the cluster's own mount namespace all paths are fixed and short: a Unix socket's path may
# have 107 characters, and a checkout's alone may have more.
INSIDE = "/run/lepton"
INSIDE_BINARIES = "/run/binaries"
INSIDE_PACKAGES = "/run/packages"


def cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lepton" / "cluster"


@dataclass(frozen=True)
class Layout:
    """The folder of one cluster's state, `.cluster/` of the checkout."""

    state: Path

    @property
    def identifier(self) -> str:
        """Eight characters that tell this checkout's cluster from another's on the same host."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:8]

    @property
    def interface(self) -> str:
        """The host's end of the pair of interfaces; at most 15 characters."""
        return f"lepton-{self.identifier}"

    @property
    def cgroup(self) -> str:
        return f"lepton-{self.identifier}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def bin(self) -> Path:
        return self.state / "bin"

    @property
    def log(self) -> Path:
        return self.state / "log"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def facts(self) -> Path:
        """What `up` chose and `status` reports."""
        return self.state / "cluster.json"

    @property
    def kept(self) -> tuple[Path, ...]:
        """What makes the next `up` warm, and what `down` leaves therefore."""
        return (self.state / "registry", self.state / "containerd", self.state / "log")


def default_layout() -> Layout:
    return Layout(CHECKOUT / ".cluster")
