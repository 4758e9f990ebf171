"""Whether the disks have room for what a make target makes: told before it is begun."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import EXISTING, ROOT, StepError

CLUSTER_GOALS = {"demo", "test", "test-e2e", "install", "test-faults", "test-faults-long"}


@dataclass(frozen=True)
class Need:
    """What a step is going to write below a folder, in GiB."""

    step: str
    folder: Path
    stays: float
    meanwhile: float = 0.0
    """Gone again before the next step begins."""

    @property
    def line(self) -> str:
        """In words."""
        passing = f" and {self.meanwhile:.1f} for a time" if self.meanwhile else ""
        return f"  {self.step}: {self.stays:.1f} GiB{passing} in {self.folder}"


@dataclass(frozen=True)
class Disk:
    """A file system, by its device number."""

    device: int
    free: float
    """GiB."""


def shortage(needs: Sequence[Need], disks: Mapping[Path, Disk]) -> str | None:
    """What is missing on which of the disks, given by the needs' folders; None if nothing is. Needs
    come in the order of their steps."""
    short = []
    for device, disk in {disk.device: disk for disk in disks.values()}.items():
        here = [need for need in needs if disks[need.folder].device == device]
        wanted = stay = 0.0
        for step in dict.fromkeys(need.step for need in here):
            stay += sum(need.stays for need in here if need.step == step)
            passing = sum(need.meanwhile for need in here if need.step == step)
            wanted = max(wanted, stay + passing)
        if disk.free < wanted:
            short.append(f"{wanted:.1f} GiB of disk are needed where {disk.free:.1f} are free:")
            short += [need.line for need in here]
    return "\n".join(short) if short else None


def missing(*, cluster: bool, tests: bool) -> list[Need]:
    """What is not there yet.

    Measured in November 2026, with torch 2.11: what stays by `du` after a `make test`, what goes
    again by `df` every second, with a disk for each of the folders.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    temporary = Path(os.environ.get("TMPDIR", "/var/tmp"))
    needs = []
    if not (ROOT / ".venv" / "ready").exists():
        uv = Path(os.environ.get("UV_CACHE_DIR") or caches / "uv")
        cached = any(uv.glob("archive-v*/*/torch"))
        linked = disk_of(uv).device == disk_of(ROOT).device
        if not (cached and linked):
            needs.append(Need("Python packages", ROOT / ".venv", 6.0))
        if not (cached or linked):
            needs.append(Need("Python packages", uv, 6.0))
    if not cluster or EXISTING:
        return needs
    if not any((caches / "lepton" / "cluster").glob("binaries-*")):
        needs.append(Need("Kubernetes", caches / "lepton", 0.7, 7.3))
    storage, index = Path("/var/lib/containers"), "storage/overlay-images/images.json"
    if shutil.which("docker") and not shutil.which("buildah"):
        storage, index = Path("/var/lib/docker"), "image/overlay2/repositories.json"
    if not _says(storage / index, "lepton/trainer:dev"):
        # torch's layer, as it is committed: twice here and twice there.
        needs.append(Need("building the images", storage, 6.2, 5.6))
        needs.append(Need("building the images", temporary, 0.0, 11.0))
    state = ROOT / ".cluster"
    if not (state / "registry/docker/registry/v2/repositories/lepton/trainer").exists():
        needs.append(Need("pushing the images", state, 9.0))
        needs.append(Need("pushing the images", temporary, 0.0, 5.5))
    needs.append(Need("what runs", state, 1.0))
    if tests:
        needs.append(Need("the check of the images", temporary, 0.0, 5.5))
    return needs


def disk_of(folder: Path) -> Disk:
    """The disk on which the folder lies, or will."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return Disk(there.stat().st_dev, shutil.disk_usage(there).free / 2**30)


def _says(listed: Path, name: str) -> bool:
    try:
        return name in listed.read_text()
    except OSError:
        return False


def check(*, cluster: bool = True, tests: bool = False) -> None:
    """Raises StepError where there is too little room."""
    needs = missing(cluster=cluster, tests=tests)
    short = shortage(needs, {need.folder: disk_of(need.folder) for need in needs})
    if short is not None:
        raise StepError(
            f"{short}\nmake room, or move what may lie elsewhere: XDG_CACHE_HOME, TMPDIR"
        )


if __name__ == "__main__":
    # By tools/setup, which has Python's own library alone.
    goals = set(sys.argv[1:])
    try:
        check(cluster=bool(goals & CLUSTER_GOALS), tests=bool(goals & {"test", "test-e2e"}))
    except StepError as error:
        sys.exit(f"setup: {error}")
