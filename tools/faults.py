"""`make test-faults`: the fault campaign, on the embedded cluster or on one of yours.

The operators under test are processes on this machine, one a scene and each in a namespace of its
own. One that is installed in the cluster would work on their jobs, too: it is scaled to none
meanwhile. A cluster that this run started is stopped at the end.
"""

import json
import os
import subprocess
import sys

from install import NAMESPACE, TRAINER, pushed
from steps import EXISTING, ROOT, StepError, environment, kubectl, python, say, stopped_afterwards


def scale(replicas: dict[str, int]) -> None:
    """Give the deployments of the installed operator so many replicas."""
    for name, count in replicas.items():
        say(f"scaling {name} in the cluster to {count}")
        kubectl("scale", f"--namespace={NAMESPACE}", "deployment", name, f"--replicas={count}")
        kubectl("rollout", "status", f"--namespace={NAMESPACE}", "deployment", name)
    if not any(replicas.values()):
        gone = ("--for=delete", "pods", "--selector=app.kubernetes.io/name=lepton-operator")
        kubectl("wait", f"--namespace={NAMESPACE}", *gone, "--timeout=60s")


def installed() -> dict[str, int]:
    """Replicas of the operator in the cluster, by deployment; empty where none is installed."""
    listed = kubectl("get", "deployments", f"--namespace={NAMESPACE}", "--output=json")
    return {
        item["metadata"]["name"]: item["spec"]["replicas"] for item in json.loads(listed)["items"]
    }


def campaign(arguments: list[str]) -> int:
    """Bring up what is needed and run the tests; returns pytest's exit code."""
    if EXISTING:
        trainer = os.environ.get("TRAINER_IMAGE")
        if trainer is None:
            raise StepError("CLUSTER=existing needs TRAINER_IMAGE, as the cluster can pull it")
    else:
        # With a second node, which kwok plays: where all nodes are lost Kubernetes evicts nothing.
        python("tests/cluster", "up", "--nodes", "1")
        say("building the trainer image")
        python("images", "build", "trainer")
        trainer = pushed(TRAINER)
    (crd,) = (ROOT / "crds").glob("*.yaml")
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(crd))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "--filename", str(crd))
    # A kind that is new is not served for a moment: kubectl asks until it is.
    kubectl("get", "leptontrainingjobs", "--all-namespaces")
    before = installed()
    scale(dict.fromkeys(before, 0))
    try:
        say("pytest")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "tests/faults", "--durations=15", *arguments],
            cwd=ROOT,
            env={**environment(), "TRAINER_IMAGE": trainer},
            check=False,
        ).returncode
    finally:
        scale(before)


def main() -> int:
    """Returns pytest's exit code."""
    with stopped_afterwards():
        return campaign(sys.argv[1:])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepError as error:
        sys.exit(f"make test-faults: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
