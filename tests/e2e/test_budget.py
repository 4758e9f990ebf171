"""What a job costs the API server, and what the operator takes, counted on the real thing."""

import json
from pathlib import Path

import pytest

from steps import EXISTING, ROOT

AUDIT_LOG = ROOT / ".cluster" / "log" / "audit.log"
WRITING = ("create", "update", "patch", "delete")


def operator_writes(path: Path, namespace: str) -> list[str]:
    """The operator's writes in a namespace, as `verb resource`."""
    found = []
    with path.open() as lines:
        for line in lines:
            if namespace not in line:
                continue
            event = json.loads(line)
            if (
                event.get("stage") == "ResponseComplete"
                and event["verb"] in WRITING
                and event.get("userAgent", "").startswith("lepton-operator")
                and event["objectRef"].get("namespace") == namespace
            ):
                reference = event["objectRef"]
                parts = (reference["resource"], reference.get("subresource"))
                found.append(f"{event['verb']} {'/'.join(filter(None, parts))}")
    return found


@pytest.mark.skipif(EXISTING, reason="the audit log of an existing cluster is not ours to read")
def test_a_finished_two_worker_job_costs_at_most_twenty_writes(jobs):
    program = """
import time, lepton
for step in range(45):
    time.sleep(1)
    lepton.report(step=step + 1, total=45, loss=1 / (step + 1))
"""
    jobs.apply("frugal", command=["python3", "-c", program], workers=2, storage={"size": "10Mi"})
    status = jobs.finished("frugal")
    assert status["phase"] == "Complete"
    writes = operator_writes(AUDIT_LOG, jobs.namespace)
    counts = {write: writes.count(write) for write in sorted(set(writes))}
    print(f"{len(writes)} writes of the operator: {counts}")
    assert counts["create jobs"] == 1
    assert counts["patch leptontrainingjobs/status"] >= 4, "progress was written along the way"
    assert len(writes) <= 20, counts


def test_ten_jobs_at_once_finish_and_the_operator_stays_small(jobs, kubectl, operator):
    for number in range(10):
        jobs.apply(f"many-{number}", command=["python3", "-c", "import time; time.sleep(5)"])
    for number in range(10):
        assert jobs.finished(f"many-{number}")["phase"] == "Complete"
    pods = kubectl(
        "-n", operator, "get", "pods", "-l", "app.kubernetes.io/name=lepton-operator",
        "-o", "name",
    ).stdout.split()  # fmt: skip
    program = "print(open('/proc/1/status').read())"
    for pod in pods:
        text = kubectl("-n", operator, "exec", pod, "--", "python3", "-c", program).stdout
        resident = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        mebibytes = int(resident.split()[1]) / 1024
        print(f"{pod}: {mebibytes:.0f} MiB resident")
        assert mebibytes <= 150
