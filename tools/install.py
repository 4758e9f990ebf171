"""Cluster, images, and the operator by Helm: whatever of it is missing or out of date."""

import json
import os
import subprocess
import sys

import room
from steps import EXISTING, ROOT, StepError, kubectl, python, run, say

NAMESPACE = "lepton-system"
RELEASE = "lepton-operator"
TRAINER = "localhost/lepton/trainer:dev"
OPERATOR = "localhost/lepton/operator:dev"
SHAPES = {
    "small": {
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "example.com/small", "operator": "Exists"}],
    },
}
"""For spec.resourceShape to have something to name; any cluster has nodes for it."""


def images() -> tuple[str, str]:
    """The operator's and the trainer's image as the cluster can pull them."""
    if EXISTING:
        try:
            return os.environ["OPERATOR_IMAGE"], os.environ["TRAINER_IMAGE"]
        except KeyError as missing:
            raise StepError(
                f"CLUSTER=existing needs {missing.args[0]}: build with `make images`, push to a "
                "registry that the cluster can pull from, and name it there"
            ) from None
    say("building the images")
    python("images", "build", "trainer", "operator")
    return pushed(OPERATOR), pushed(TRAINER)


def pushed(image: str) -> str:
    """Push an image; returns it by digest, so that a changed image is a changed manifest."""
    command = [sys.executable, "tests/cluster", "push", image]
    named = ""
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE) as push:
        assert push.stdout is not None
        for line in push.stdout:
            print(line, end="", flush=True)
            named = line.strip() if "@sha256:" in line else named
    if push.returncode != 0 or not named:
        raise StepError(f"{image} could not be pushed; see above")
    return named


def install() -> None:
    """Bring everything up to date."""
    room.check()
    if EXISTING:
        say("using the existing cluster: " + kubectl("config", "current-context").strip())
    else:
        python("tests/cluster", "up")
    operator, trainer = images()
    repository, _, digest = operator.partition("@")
    values = [f"image.repository={repository.rsplit(':', 1)[0]}", f"trainer.image={trainer}"]
    values.append(f"image.digest={digest}" if digest else f"image.tag={operator.rsplit(':', 1)[1]}")
    say("installing the operator with Helm")
    run(
        "helm",
        "upgrade",
        "--install",
        RELEASE,
        str(ROOT / "charts" / "lepton-operator"),
        f"--namespace={NAMESPACE}",
        "--create-namespace",
        "--take-ownership",  # the CRD outlives releases,
        "--force-conflicts",  # and others apply it too
        "--wait",
        "--timeout=3m",
        *(f"--set-string={value}" for value in values),
        f"--set-json=jobs.resourceShapes={json.dumps(SHAPES)}",
        quiet=True,
    )
    say("the operator runs")


if __name__ == "__main__":
    try:
        install()
    except StepError as error:
        sys.exit(f"make install: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
