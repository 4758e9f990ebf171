"""What the make targets share: where things are, running programs, telling what is being done."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTED = time.monotonic()
EXISTING = os.environ.get("CLUSTER", "embedded") == "existing"
"""Whether the user's own cluster is used instead of the embedded one."""


class StepError(Exception):
    """A step failed; the message says what to do."""


def say(text: str) -> None:
    """One line of progress with the time since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f}s] {text}", flush=True)


def kubeconfig() -> Path:
    """The kubeconfig to use; raises StepError when the user's own is asked for and not set."""
    if not EXISTING:
        return ROOT / ".cluster" / "kubeconfig"
    path = os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config"))
    if not Path(path.split(os.pathsep)[0]).exists():
        raise StepError(f"CLUSTER=existing, but KUBECONFIG names no file: {path}")
    return Path(path)


def environment() -> dict[str, str]:
    """The environment in which kubectl and helm find the cluster."""
    own = ROOT / ".cluster" / "bin"
    return {
        **os.environ,
        "KUBECONFIG": str(kubeconfig()),
        "PATH": f"{own}{os.pathsep}{os.environ['PATH']}",
    }


def run(*command: str, quiet: bool = False, stdin: str | None = None) -> str:
    """Run a program and return what it printed; raises StepError with its words when it fails.

    With quiet=False its output goes straight to the terminal, and "" is returned.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            input=stdin,
            text=True,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
            check=False,
        )
    except FileNotFoundError:
        raise StepError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        words = f":\n{done.stderr.strip() or done.stdout.strip()}" if quiet else ""
        raise StepError(f"`{' '.join(command[:6])}` failed with code {done.returncode}{words}")
    return done.stdout if quiet else ""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What kubectl prints; raises StepError."""
    return run("kubectl", *arguments, quiet=True, stdin=stdin)


def python(*arguments: str) -> None:
    """Run one of the project's own programs, its output on the terminal."""
    run(sys.executable, *arguments)


def cluster_is_up() -> bool:
    """Whether the embedded cluster answers already."""
    if not (ROOT / ".cluster" / "kubeconfig").exists():
        return False
    try:
        kubectl("get", "--raw", "/readyz", "--request-timeout=3s")
    except StepError:
        return False
    return True


@contextlib.contextmanager
def stopped_afterwards() -> Iterator[None]:
    """Stop the cluster at the end, unless it was up before or is the user's own."""
    stop = not EXISTING and not cluster_is_up()
    try:
        yield
    finally:
        if stop:
            say("stopping the cluster")
            python("tests/cluster", "down")
