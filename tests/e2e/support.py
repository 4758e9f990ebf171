"""What the end-to-end tests share: waiting, and a namespace's training jobs."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any, Protocol

import yaml

Completed = subprocess.CompletedProcess[str]
Json = dict[str, Any]


class Kubectl(Protocol):
    """Runs kubectl against the cluster."""

    def __call__(self, *arguments: str, input: str | None = None, check: bool = True) -> Completed:
        """The finished process, with text output; raises CalledProcessError with check."""


def until(what: str, look: Callable[[], Any], timeout: float = 120.0, every: float = 0.5) -> Any:
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
        """A job's status once `look` likes it; a field that is not there yet is waited for."""

        def seen() -> Any:
            try:
                return look(self.status(name))
            except KeyError:
                return None

        try:
            until(f"{name} {what}", seen, timeout)
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


def failed(status: Json) -> Json:
    """The Failed condition of a job that has failed."""
    told: Json = next(c for c in status["conditions"] if c["type"] == "Failed")
    return told


def first_worker(jobs: Jobs, name: str, attempt: int) -> str:
    """Name of the running first worker's pod."""
    selector = f"training.lepton.ai/job-name={name},training.lepton.ai/attempt={attempt}"
    index = "batch.kubernetes.io/job-completion-index"
    (pod,) = (
        pod["metadata"]["name"]
        for pod in jobs.items("pods", selector)
        if pod["metadata"]["annotations"][index] == "0" and pod["status"]["phase"] == "Running"
    )
    return str(pod)


def first_worker_log(jobs: Jobs, name: str, attempt: int) -> str:
    """What the first worker has printed so far, in lower case."""
    return jobs.kubectl("logs", first_worker(jobs, name, attempt)).stdout.lower()


def first_worker_files(jobs: Jobs, name: str, attempt: int) -> str:
    """Paths of the files on the job's storage, one a line."""
    program = "import os\nfor f, _, n in os.walk(os.environ['LEPTON_STORAGE']):\n print(f, n)"
    pod = first_worker(jobs, name, attempt)
    return jobs.kubectl("exec", pod, "--", "python3", "-c", program).stdout
