"""What comes from Debian: a few tools that are installed, and daemons that are only unpacked.

containerd, runc, the CNI plugins and the registry are never installed on the host. Their packages
would start services and enable them, and containerd's removes Docker's containerd.io. They need
nothing but the C library, so they are unpacked into the cache and run from there.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .errors import ClusterError
from .layout import cache_root
from .progress import Progress

# The package and a command that it brings.
TOOLS = {
    "iproute2": "ip",
    "mount": "mount",
    "nftables": "nft",
    "openssl": "openssl",
    "util-linux": "nsenter",
}
UNPACKED = ("containerd", "runc", "containernetworking-plugins", "docker-registry")
# What runc is linked with; apt itself needs it, so it is nearly always there.
LIBRARIES = ("libseccomp2",)
EXPECTED = (
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/ctr",
    "usr/bin/docker-registry",
    "usr/lib/cni/ptp",
    "usr/lib/cni/host-local",
)
POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(progress: Progress) -> Path:
    """Installs the missing tools, unpacks the daemons; returns the folder of the latter."""
    missing = [package for package, command in TOOLS.items() if not find(command)]
    if missing:
        install(progress, missing)
    target = cache_root() / f"packages-{_recipe()}"
    if not target.is_dir():
        with progress.step(f"unpack {', '.join(UNPACKED)}"):
            _unpack(target)
    return target


def find(command: str) -> str | None:
    """Looks in the administrator's folders too, which a user's PATH may lack."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(command, path=path)


def install(progress: Progress, names: list[str]) -> None:
    """Installs Debian packages; no service that they bring is started."""
    with progress.step(f"install {', '.join(names)} (apt)"), _no_services():
        _update_lists(names)
        _apt("install", "--yes", "--no-install-recommends", "--no-upgrade", *names)


def _recipe() -> str:
    """Of another release or with another list, other files are needed."""
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").is_file() else ""
    text = "\n".join([release, os.uname().machine, *UNPACKED, *EXPECTED])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _unpack(target: Path) -> None:
    unfinished = target.with_name(target.name + f".{os.getpid()}")
    archives = unfinished.with_name(unfinished.name + ".archives")
    for folder in (unfinished, archives):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        _update_lists([*UNPACKED])
        # As root apt would download as its own user, who may not write here.
        _apt("-o", "APT::Sandbox::User=root", "download", *UNPACKED, folder=archives)
        for archive in sorted(archives.glob("*.deb")):
            _check(["dpkg-deb", "--extract", str(archive), str(unfinished)])
        absent = [name for name in EXPECTED if not (unfinished / name).exists()]
        if absent:
            raise ClusterError(f"the Debian packages lack {', '.join(absent)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            # Another checkout may have been faster.
            unfinished.rename(target)
    finally:
        shutil.rmtree(archives, ignore_errors=True)
        shutil.rmtree(unfinished, ignore_errors=True)


def _update_lists(names: list[str]) -> None:
    """Fetches apt's lists only if they do not know all packages yet."""
    for name in names:
        shown = subprocess.run(
            ["apt-cache", "--quiet=0", "policy", name], capture_output=True, text=True, check=False
        )
        if "Candidate:" not in shown.stdout or "Candidate: (none)" in shown.stdout:
            _apt("update")
            return


def _apt(*arguments: str, folder: Path | None = None) -> None:
    try:
        _check(["apt-get", "-qq", *arguments], folder)
    except ClusterError:
        if arguments[0] == "update":
            raise
        # The lists may name versions that the mirror no longer has.
        _check(["apt-get", "-qq", "update"])
        _check(["apt-get", "-qq", *arguments], folder)


def _check(command: list[str], folder: Path | None = None) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} is not there: the cluster takes containerd and runc from Debian",
            advice="Use Debian 12 or newer (or Ubuntu), or an existing cluster: CLUSTER=existing.",
        ) from error
    if done.returncode:
        output = (done.stderr or done.stdout).strip()[-1500:]
        raise ClusterError(
            f"`{' '.join(command)}` failed:\n{output}",
            advice="Check the package sources (apt-get update) and start again.",
        )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Packages ask policy-rc.d whether they may start their services: for now they may not."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
