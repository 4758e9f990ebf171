"""`make demo`: from nothing to a trained agent on a real Kubernetes."""

import json
import subprocess
import sys
import time

import install
from steps import EXISTING, ROOT, StepError, environment, kubectl, say

JOB = "cartpole"
MANIFEST = ROOT / "examples" / "cartpole.yaml"
LIMIT_SECONDS = 900
SETTINGS = "export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/.cluster/bin:$PATH"


def main() -> None:
    """Bring everything up, train, and show what came of it."""
    install.install()
    kubectl("delete", "ltj", JOB, "--ignore-not-found", "--wait=true", "--timeout=60s")
    say(f"kubectl apply -f {MANIFEST.relative_to(ROOT)}")
    print(kubectl("apply", "-f", str(MANIFEST)).strip())
    say(f"kubectl get ltj {JOB} --watch")
    follow()
    show()


def follow() -> None:
    """Show the job's line each time it changes, until the job has finished."""
    # kubectl lays its columns out by the first line that it prints.
    kubectl("wait", f"ltj/{JOB}", "--for=jsonpath={.status.phase}", "--timeout=30s")
    watch = subprocess.Popen(
        ["kubectl", "get", "ltj", JOB, "--watch", "--output-watch-events=false"],
        env=environment(),
    )
    try:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            if watch.poll() is not None:
                raise StepError("the watch ended early; see `kubectl get ltj`")
            if condition("Finished") is not None:
                time.sleep(1)  # lets the watch print the last line
                return
            time.sleep(0.5)
        raise StepError(f"the job has not finished after {LIMIT_SECONDS} s")
    finally:
        watch.terminate()
        watch.wait(10)


def condition(kind: str) -> dict[str, str] | None:
    """The job's condition of this type if it is True."""
    status = json.loads(kubectl("get", "ltj", JOB, "-o", "json")).get("status", {})
    found: list[dict[str, str]] = status.get("conditions", [])
    return next((c for c in found if c["type"] == kind and c["status"] == "True"), None)


def show() -> None:
    """What came of it, and how to look further."""
    say("the result")
    print(kubectl("get", "ltj", JOB, "-o", "wide"))
    described = kubectl("describe", "ltj", JOB)
    start = described.find("Status:")
    print(described[start:].rstrip())
    status = json.loads(kubectl("get", "ltj", JOB, "-o", "json"))["status"]
    if condition("Complete") is None:
        failed = condition("Failed") or {}
        raise StepError(f"the job did not complete: {failed.get('message', 'see above')}")
    evaluation, model = status["evaluation"], status["model"]
    verdict = "reached" if evaluation["passed"] else "did not reach"
    settings = (
        ""
        if EXISTING
        else "export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/.cluster/bin:$PATH\n  "
    )
    print(
        f"""
Trained: mean reward {evaluation["rewardMean"]:.1f} over {evaluation["episodes"]} episodes; \
it {verdict} the threshold of {evaluation["threshold"]:.0f}.
Model:   {model["uri"]}
         sha256 {model["sha256"]}

Look around:
  {settings}kubectl get ltj,jobs,pods,pvc
  kubectl describe ltj {JOB}
  kubectl logs -l training.lepton.ai/job-name={JOB} --prefix
  kubectl explain ltj.spec
Train it on this machine alone, without Kubernetes:
  .venv/bin/lepton run {MANIFEST.relative_to(ROOT)}
Stop everything and leave nothing behind:
  make cluster-down"""
    )


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        sys.exit(f"make demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
