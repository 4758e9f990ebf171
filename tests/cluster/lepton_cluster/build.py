"""Builds the cluster's binaries from Go modules, once for each state of their sources."""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from . import images, machine, packages
from .addons import COREDNS_IMAGE, VOLUME_IMAGE
from .configuration import PAUSE_IMAGE
from .errors import ClusterError
from .layout import SOURCES, cache_root
from .progress import Progress, Step

# The file and the package it is built from. What others wait for comes first, and what shares most
# of its packages with those before it, last.
BINARIES = {
    "etcd": "./etcd",
    "kube": "./kube",
    "coredns": "./coredns",
    "pause": "./pause",
    "volume-helper": "./volume",
    "pull": "./pull",
    "local-path-provisioner": "github.com/rancher/local-path-provisioner",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "helm": "helm.sh/helm/v4/cmd/helm",
}
IMAGES = {"pause": PAUSE_IMAGE, "coredns": COREDNS_IMAGE, "volume-helper": VOLUME_IMAGE}
KWOK_STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
# Without symbols: half the size. Kubernetes' version is stamped in, since clients parse it; the
# time is that of nothing, so that the same sources give the same binaries.
LINKER_FLAGS = "-s -w"
VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
# GOTOOLCHAIN=auto, by which an older Go fetches the one that go.mod asks for, came with 1.21.
OLDEST_GO = (1, 21)
# Module sources, compiled packages and binaries at their most.
SPACE_FOR_BUILD = 8 * 2**30


def cache_key(sources: Iterable[tuple[str, bytes]], go_version: str, machine_name: str) -> str:
    """Twelve characters that change with anything that the binaries depend on."""
    digest = hashlib.sha256(f"{go_version}\0{machine_name}\0".encode())
    for name, data in sorted(sources):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:12]


def sources() -> list[tuple[str, bytes]]:
    """The module's files, and what is built of them and how."""
    files = [SOURCES / "go.mod", SOURCES / "go.sum", *SOURCES.glob("*/*.go")]
    recipe = repr((BINARIES, IMAGES, KWOK_STAGES, linker_flags("v0.0.0"))).encode()
    found = [(str(path.relative_to(SOURCES)), path.read_bytes()) for path in files]
    return [*found, ("recipe", recipe)]


def ensure(progress: Progress) -> Path:
    """Builds unless it was done before; returns the folder of the binaries."""
    found = target()
    if not found.is_dir():
        _build_once(progress, found)
    return found


def target() -> Path:
    """Where the binaries of the present sources lie, built or not.

    Go is not asked for its version: a machine that has the binaries needs no Go.
    """
    key = cache_key(sources(), _go_version_wanted(), platform.machine())
    return cache_root() / f"binaries-{key}"


def _build_once(progress: Progress, target: Path) -> None:
    root = target.parent
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock, _locked(progress, lock):
        if target.is_dir():
            return
        go = _find_go(progress)
        _check_space(root)
        workshop = root / f"building-{target.name}"
        _build(progress, go, workshop)
        (workshop / "out").rename(target)
        _remove_tree(workshop)
        forget_old(keep=target)


@contextlib.contextmanager
def _locked(progress: Progress, lock: IO[str]) -> Iterator[None]:
    """One build at a time on this machine; another checkout's may be the very one needed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with progress.step("wait for another build on this machine"):
            fcntl.flock(lock, fcntl.LOCK_EX)
    yield


def forget_old(keep: Path | None = None, kinds: Iterable[str] = ("binaries", "building")) -> int:
    """Removes builds of other states of the sources, unless a running cluster uses them.

    Returns how many there were.
    """
    kept = used_folders() | {keep}
    found = [folder for kind in kinds for folder in cache_root().glob(f"{kind}-*")]
    removed = [folder for folder in found if folder not in kept]
    for folder in removed:
        _remove_tree(folder)
    return len(removed)


def clean(progress: Progress) -> int:
    """Removes all that no running cluster uses; returns the number of folders."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock, _locked(progress, lock):
        return forget_old(kinds=("binaries", "building", "packages"))


def used_folders() -> set[Path]:
    """The folders of the cache that some process on this host was started from."""
    root = cache_root()
    used: set[Path] = set()
    for pid in machine.all_pids():
        with contextlib.suppress(OSError):
            executable = Path(os.readlink(f"/proc/{pid}/exe"))
            if executable.is_relative_to(root):
                used.add(root / executable.relative_to(root).parts[0])
            # Those of a cluster are seen at the paths of its own mount namespace.
            for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
                origin, mounted = line.split(" ")[3:5]
                if mounted in ("/run/binaries", "/run/packages"):
                    used.update(root / name for name in Path(origin).parts[-1:])
    return used


def _go_version_wanted() -> str:
    text = (SOURCES / "go.mod").read_text()
    found = re.search(r"^toolchain (\S+)$", text, re.M) or re.search(r"^go (\S+)$", text, re.M)
    if found is None:
        raise ClusterError(f"{SOURCES / 'go.mod'} does not say which Go it needs")
    return found.group(1)


def _required(module: str) -> str:
    """The version of a module in go.mod."""
    found = re.search(rf"^\t{re.escape(module)} (v\S+)", (SOURCES / "go.mod").read_text(), re.M)
    if found is None:
        raise ClusterError(f"{SOURCES / 'go.mod'} does not require {module}")
    return found.group(1)


def linker_flags(version: str) -> str:
    """Stamps Kubernetes' `version` (v1.2.3) into what is linked."""
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "unknown",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    stamps = [
        f"-X {package}.{name}={value}"
        for package in VERSION_PACKAGES
        for name, value in values.items()
    ]
    return " ".join([LINKER_FLAGS, *stamps])


def _find_go(progress: Progress) -> str:
    for attempt in range(2):
        path = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
        if path is not None and _version(path) >= OLDEST_GO:
            return path
        if attempt == 0:
            packages.install(progress, ["golang-go"])
    raise ClusterError(
        f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer is needed, and this Debian has an older one",
        advice=f"Install Go {_go_version_wanted()} (https://go.dev/dl) so that `go` is in PATH.",
    )


def _version(go: str) -> tuple[int, ...]:
    shown = subprocess.run(
        [go, "version"], capture_output=True, text=True, check=False, cwd="/"
    ).stdout
    found = re.search(r"go(\d+)\.(\d+)", shown)
    return tuple(int(part) for part in found.groups()) if found else (0, 0)


def _check_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < SPACE_FOR_BUILD:
        raise ClusterError(
            f"{root} has {free / 2**30:.1f} GiB free, and the build needs "
            f"{SPACE_FOR_BUILD / 2**30:.0f} GiB (for a time; what remains is 0.4 GiB)",
            advice="Make room, or set XDG_CACHE_HOME to a folder with more.",
        )


def _build(progress: Progress, go: str, workshop: Path) -> None:
    """Leaves binaries, image archives and kwok's stages in `workshop`/out."""
    out = workshop / "out"
    out.mkdir(parents=True, exist_ok=True)
    # Gigabytes that are of no use afterwards do not belong into the user's own caches.
    environment = os.environ | {
        "GOMODCACHE": str(workshop / "modules"),
        "GOCACHE": str(workshop / "compiled"),
        "GOTMPDIR": str(workshop),
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }
    if environment.get("GOTOOLCHAIN") is None:
        environment["GOTOOLCHAIN"] = "auto"
    flags = f"-ldflags={linker_flags(_required('k8s.io/kubernetes'))}"
    for name, package in BINARIES.items():
        with progress.step(f"build {name}") as step:
            command = [go, "build", "-v", flags, "-o", str(out / name), package]
            compiled = _go(command, environment, workshop / "go.log", step)
            step.detail = f"{compiled} packages"
    shown = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"],
        cwd=SOURCES, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    stages = Path(shown.stdout.strip()) / "kustomize" / "stage"
    texts = [(stages / name).read_text() for name in KWOK_STAGES]
    (out / "kwok-stages.yaml").write_text("\n---\n".join(texts))
    for binary, image in IMAGES.items():
        target = out / f"{binary}.tar"
        images.write(target, image, out / binary, f"/{binary}", platform.machine())
    (out / "kubectl").symlink_to("kube")


def _go(command: list[str], environment: dict[str, str], log: Path, step: Step) -> int:
    """Runs a Go command, showing the package that it is at; returns the number of lines it wrote.

    An interrupted build goes on where it was: the folder of compiled packages is kept.
    """
    count = 0
    with log.open("w") as written:
        process = subprocess.Popen(
            command,
            cwd=SOURCES,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                written.write(line)
                count += 1
                step.detail = line.strip().removeprefix("go: downloading ")
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        raise ClusterError(
            f"`{' '.join(command[:2])}` failed with exit code {process.returncode}",
            log=log,
            advice="The module proxy must be reachable (go env GOPROXY). "
            "Started again, the build goes on where it was.",
        )
    step.detail = ""
    return count


def _remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
