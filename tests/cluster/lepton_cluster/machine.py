"""The cluster's own little machine: process, mount, network, host name and IPC namespaces.

Its first process is `pause` with the state folder as its argument, by which it is found again
without a pid file (so a stale pid or a reused one cannot mislead). When it is killed, the kernel
kills every process of the cluster, containers included, and with the last of them the mounts and
the network vanish. Nothing in it can outlive it.

Mounts propagate from the host to the cluster and not back (`slave`): a copy of the host's mounts
that never changes would keep what the host has unmounted since, an image builder's layers say.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .layout import INSIDE, INSIDE_BINARIES, INSIDE_PACKAGES, Layout

PROC = Path("/proc")

# The kubelet insists on these values and would set them on the host: a test cluster must not make
# a laptop reboot ten seconds after a kernel oops. It finds files with the right values instead.
KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

# Runs as the first process, before it becomes `pause`. Everything the components need is bound
# below a fresh /run, then /var/lib and /var/log are covered: what they write at fixed places
# (device plugin sockets, CNI results, container log links) never reaches the host. (-n: mount's
# own notes lie in /run, which is not the same before and after.)
SETUP = r"""
set -eu
state=$1 binaries=$2 packages=$3 hostname=$4
hostname "$hostname"
mkdir -p "$state/run"
mount -n -t tmpfs -o mode=755 lepton "$state/run"
mkdir -p "$state/run/lepton" "$state/run/binaries" "$state/run/packages" \
    "$state/run/netns" "$state/run/lock" "$state/run/kernel"
mount -n --bind "$state" "$state/run/lepton"
mount -n --bind "$binaries" "$state/run/binaries"
mount -n --bind "$packages" "$state/run/packages"
shift 4
for setting in "$@"; do
    file=$state/run/kernel/$(echo "${setting%%=*}" | tr / .)
    echo "${setting#*=}" >"$file"
    target=/proc/sys/${setting%%=*}
    if [ -e "$target" ]; then mount -n --bind "$file" "$target"; fi
done
mount -n --move "$state/run" /run
mount -n -t tmpfs -o mode=755 lepton /var/lib
mount -n -t tmpfs -o mode=755 lepton /var/log
mount -n --make-rshared /
cd /
exec /run/binaries/pause "$state"
"""


@dataclass(frozen=True)
class Process:
    pid: int
    command: list[str]
    started: float
    """Seconds since the epoch."""

    @property
    def name(self) -> str:
        first = os.path.basename(self.command[0])
        if first == "kube" and len(self.command) > 1:
            return self.command[1]
        return first


def all_pids() -> list[int]:
    return [int(entry) for entry in os.listdir(PROC) if entry.isdigit()]


def command_of(pid: int) -> list[str]:
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0")[:-1]]


def namespace_of(pid: int, kind: str) -> int | None:
    try:
        return (PROC / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return None


def started_at(pid: int) -> float:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    # Field 22 of proc(5)'s stat; the second field, the name, may itself hold spaces.
    ticks = int(fields[19])
    boot = next(
        int(line.split()[1])
        for line in (PROC / "stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def find_init(layout: Layout) -> int | None:
    """The pid, as the host sees it, of the first process of this cluster's namespaces."""
    for pid in all_pids():
        command = command_of(pid)
        if command[1:] == [str(layout.state)] and os.path.basename(command[0]) == "pause":
            return pid
    return None


def start(layout: Layout, binaries: Path, packages: Path, hostname: str) -> int:
    """Makes the namespaces and returns the pid of their first process."""
    layout.log.mkdir(parents=True, exist_ok=True)
    log = layout.log / "machine.log"
    settings = [f"{name}={value}" for name, value in KERNEL_SETTINGS.items()]
    with log.open("wb") as output:
        holder = subprocess.Popen(
            [
                "unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork",
                "--mount-proc", "--propagation", "slave",
                "sh", "-c", SETUP, "sh",
                str(layout.state), str(binaries), str(packages), hostname, *settings,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )  # fmt: skip
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if (init := find_init(layout)) is not None:
            return init
        if holder.poll() is not None:
            break
        time.sleep(0.01)
    raise ClusterError(
        "the cluster's namespaces could not be made",
        log=log,
        advice="They need root (CAP_SYS_ADMIN); in a container, run it privileged.",
    )


def environment() -> list[str]:
    """A clean environment: the host's proxy settings would lead the components astray."""
    path = [INSIDE_BINARIES]
    path += [f"{INSIDE_PACKAGES}/usr/{name}" for name in ("sbin", "bin")]
    path += ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return ["env", "-C", "/", "-i", f"PATH={':'.join(path)}", "HOME=/root", "LC_ALL=C.UTF-8"]


def enter(init: int) -> list[str]:
    """The command that runs another one inside, in a clean environment."""
    return ["nsenter", "-t", str(init), "-m", "-n", "-p", "-u", "-i", "--", *environment()]


def launch(init: int, name: str, command: Sequence[str]) -> None:
    """Starts a component inside, in its own session; its output goes to `.cluster/log`."""
    script = f'exec setsid -f "$@" </dev/null >>{INSIDE}/log/{name}.log 2>&1'
    subprocess.run([*enter(init), "sh", "-c", script, "sh", *command], check=True)


def run(init: int, command: Sequence[str], timeout: float = 60) -> str:
    """Runs a command inside to its end and returns what it printed."""
    done = subprocess.run(
        [*enter(init), *command], capture_output=True, text=True, check=False, timeout=timeout
    )
    if done.returncode:
        text = (done.stderr or done.stdout).strip()
        raise ClusterError(f"`{' '.join(command)}` failed inside the cluster: {text[-1500:]}")
    return done.stdout


def processes(init: int) -> list[Process]:
    """The cluster's own processes, containers' excluded, in the order in which they started."""
    space = namespace_of(init, "pid")
    found = []
    for pid in all_pids():
        if pid != init and namespace_of(pid, "pid") == space and (command := command_of(pid)):
            try:
                found.append(Process(pid, command, started_at(pid)))
            except OSError:
                continue
    return sorted(found, key=lambda process: (process.started, process.pid))


def members(init: int) -> set[int]:
    """All processes inside, those of containers included: they share its ancestry of namespaces."""
    spaces = {kind: namespace_of(init, kind) for kind in ("pid", "mnt", "net")}
    found = set()
    for pid in all_pids():
        if any(space and namespace_of(pid, kind) == space for kind, space in spaces.items()):
            found.add(pid)
    return found


def kill(pid: int, seconds: float = 10) -> bool:
    """Kills one process; true when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)
    return wait_gone({pid}, seconds) == set()


def wait_gone(pids: set[int], seconds: float) -> set[int]:
    """Waits for processes to end; returns those that did not."""
    deadline = time.monotonic() + seconds
    while left := {pid for pid in pids if _alive(pid)}:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.02)
    return set()


def _alive(pid: int) -> bool:
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
