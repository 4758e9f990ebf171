"""The cluster's own subtree in the host's cgroups, of version 1 or 2."""

import time
from pathlib import Path

from .errors import ClusterError

MOUNTS = Path("/proc/self/mountinfo")


def hierarchies(mountinfo: str) -> tuple[int, list[Path]]:
    """The version in use and where its controllers are mounted.

    A hybrid host (version 1 with an empty version 2 beside it) counts as version 1.
    """
    first: list[Path] = []
    second: list[Path] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split(" ", 1)[0]
        mounted = Path(before.split(" ")[4])
        if kind == "cgroup" and mounted not in first:
            first.append(mounted)
        elif kind == "cgroup2":
            second.append(mounted)
    return (1, first) if first else (2, second[:1])


def create(name: str) -> int:
    """Makes the subtree; returns the version."""
    version, roots = hierarchies(MOUNTS.read_text())
    if not roots:
        raise ClusterError(
            "no cgroups are mounted on this host",
            advice="Mount them at /sys/fs/cgroup; in a container, run it privileged.",
        )
    for root in roots:
        try:
            if version == 2:
                _delegate(root)
            (root / name).mkdir(exist_ok=True)
            if version == 2:
                _delegate(root / name)
        except OSError as error:
            raise ClusterError(
                f"cannot make the cgroup {root / name}: {error.strerror}",
                advice="The cluster needs root and a writable /sys/fs/cgroup.",
            ) from error
    return version


def _delegate(group: Path) -> None:
    """Lets children of `group` use every controller it has (version 2)."""
    available = (group / "cgroup.controllers").read_text().split()
    control = group / "cgroup.subtree_control"
    enabled = control.read_text().split()
    for controller in available:
        if controller not in enabled:
            try:
                control.write_text(f"+{controller}")
            except OSError:
                # Some (rdma, misc) may be refused. The kubelet says so if it misses one it needs.
                continue


def groups(name: str) -> list[Path]:
    """All groups of the subtree, children before their parents."""
    found: list[Path] = []
    for top in tops(name):
        children = [path for path in top.rglob("*") if path.is_dir()]
        found.extend(sorted(children, key=lambda path: len(path.parts), reverse=True))
        found.append(top)
    return found


def tops(name: str) -> list[Path]:
    """The subtree's root in each hierarchy where it exists."""
    _, roots = hierarchies(MOUNTS.read_text())
    return [root / name for root in roots if (root / name).is_dir()]


def processes(name: str) -> set[int]:
    pids: set[int] = set()
    for group in groups(name):
        try:
            pids.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
        except OSError:
            continue
    return pids


def remove(name: str, seconds: float = 5.0) -> list[Path]:
    """Removes the subtree; returns what could not be removed."""
    deadline = time.monotonic() + seconds
    while True:
        left: list[Path] = []
        for group in groups(name):
            try:
                group.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                left.append(group)
        if not left or time.monotonic() > deadline:
            return left
        # A group is busy for a moment after its last process was killed.
        time.sleep(0.05)
