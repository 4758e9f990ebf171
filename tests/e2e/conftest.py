"""Fixtures of tests that run on a real cluster, where `make install` has put the operator.

Nothing is skipped when the cluster is missing: the first test says what to run, and fails.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import steps  # noqa: E402
from install import NAMESPACE as OPERATOR_NAMESPACE  # noqa: E402

Completed = subprocess.CompletedProcess[str]
Json = dict[str, Any]


class Kubectl(Protocol):
    """Runs kubectl against the cluster."""

    def __call__(self, *arguments: str, input: str | None = None, check: bool = True) -> Completed:
        """The finished process, with text output; raises CalledProcessError with check."""


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """kubectl, with a limit of five minutes a call."""

    def call(*arguments: str, input: str | None = None, check: bool = True) -> Completed:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=steps.environment(),
            input=input,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    ready = call("get", "--raw", "/readyz", check=False)
    if ready.returncode != 0:
        pytest.exit(f"no cluster answers; run `make install` first: {ready.stderr.strip()}", 1)
    return call


@pytest.fixture(scope="session")
def crd(kubectl: Kubectl) -> None:
    """The CustomResourceDefinition is installed and served."""
    path = next((ROOT / "crds").glob("*.yaml"))
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(path))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(path))


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl) -> str:
    """The operator runs; returns its namespace."""
    kubectl(
        "wait",
        f"--namespace={OPERATOR_NAMESPACE}",
        "--for=condition=Available",
        "--timeout=120s",
        "deployment",
        "--selector=app.kubernetes.io/name=lepton-operator",
    )
    return OPERATOR_NAMESPACE


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A fresh namespace that enforces the restricted pod security standard."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def until(
    what: str, look: Callable[[], Any], timeout: float = 120.0, every: float = 0.5
) -> Any:
    """The first true value that `look` returns; fails with `what` and the last one at the end."""
    deadline = time.monotonic() + timeout
    value = look()
    while not value and time.monotonic() < deadline:
        time.sleep(every)
        value = look()
    assert value, f"{what}: not so after {timeout:.0f} s"
    return value


class Jobs:
    """LeptonTrainingJobs of one namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self.namespace = namespace

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> Completed:
        """kubectl in the namespace."""
        return self._kubectl("--namespace", self.namespace, *arguments, input=input, check=check)

    def get(self, kind: str, *arguments: str) -> Any:
        """What `kubectl get -o json` says."""
        return json.loads(self.kubectl("get", kind, *arguments, "-o", "json").stdout)

    def items(self, kind: str, selector: str = "") -> list[Json]:
        """Objects of a kind."""
        items: list[Json] = self.get(kind, *(["-l", selector] if selector else []))["items"]
        return items

    def apply(self, name: str, **spec: Any) -> None:
        """Create or change a job."""
        manifest = {
            "apiVersion": "training.lepton.ai/v1alpha1",
            "kind": "LeptonTrainingJob",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump(manifest))

    def patch(self, name: str, **spec: Any) -> None:
        """Change fields of a job's spec."""
        body = json.dumps({"spec": spec})
        self.kubectl("patch", "ltj", name, "--type=merge", "-p", body)

    def status(self, name: str) -> Json:
        """A job's status."""
        status: Json = self.get("ltj", name).get("status", {})
        return status

    def until(
        self, name: str, what: str, look: Callable[[Json], Any], timeout: float = 180.0
    ) -> Json:
        """A job's status once `look` likes it."""
        try:
            until(f"{name} {what}", lambda: look(self.status(name)), timeout)
        except AssertionError as error:
            state = self.kubectl("get", "ltj,jobs,pods,events", check=False).stdout
            raise AssertionError(f"{error}\n{yaml.safe_dump(self.status(name))}\n{state}") from None
        return self.status(name)

    def finished(self, name: str, timeout: float = 240.0) -> Json:
        """A job's status once it has ended, for good or ill."""
        return self.until(name, "finishes", lambda s: condition(s, "Finished") == "True", timeout)


def condition(status: Json, kind: str) -> str | None:
    """Status of a condition: "True", "False", "Unknown", or None when there is none."""
    found = [c["status"] for c in status.get("conditions", ()) if c["type"] == kind]
    return found[0] if found else None


@pytest.fixture
def jobs(kubectl: Kubectl, crd: None, operator: str, namespace: str) -> Jobs:
    """LeptonTrainingJobs in a fresh namespace, with the operator running."""
    return Jobs(kubectl, namespace)
