"""Fixtures of tests that run on a real cluster, where `make install` has put the operator.

Nothing is skipped when the cluster is missing: the run ends and says what to do.
"""

import fcntl
import subprocess
import uuid
from collections.abc import Iterator

import pytest

import steps
from install import NAMESPACE as OPERATOR_NAMESPACE
from steps import ROOT
from support import Completed, Jobs, Kubectl


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests of several processes share the cluster, but for those that need it alone."""
    alone = request.node.get_closest_marker("alone") is not None
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


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


@pytest.fixture
def jobs(kubectl: Kubectl, crd: None, operator: str, namespace: str) -> Jobs:
    """LeptonTrainingJobs in a fresh namespace, with the operator running."""
    return Jobs(kubectl, namespace)
