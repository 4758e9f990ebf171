"""What failurePolicy asks for: rules by exit code, the same failure again, memory, nodes."""

import json

import pytest

from steps import EXISTING, python
from support import failed, first_worker, until

RANK_1_FAILS_AT_STEP_5 = """
import os, signal, sys, time, lepton
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
for step in range(1, 6):
    lepton.report(step=step, total=100)
    time.sleep(0.1)
if os.environ["RANK"] == "1":
    raise ValueError("bad sample")
time.sleep(600)
"""


def test_a_rule_fails_the_job_at_its_exit_code_though_restarts_are_left(jobs):
    jobs.apply(
        "rule",
        command=["sh", "-c", "exit 3"],
        failurePolicy={
            "maxRestarts": 5,
            "backoffSeconds": 1,
            "rules": [{"exitCodes": [3], "action": "Fail"}],
        },
    )
    status = jobs.finished("rule")
    assert failed(status)["reason"] == "FailedByRule"
    assert "failurePolicy.rules[0] says Fail" in failed(status)["message"]
    assert status["restarts"] == 0
    (attempt,) = status["attempts"]
    assert (attempt["class"], attempt["exitCode"]) == ("Application", 3), attempt


def test_a_free_restart_does_not_cost_the_budget(jobs):
    # The second attempt is told apart by its name, since nothing else outlives the first.
    program = 'case "$PET_RDZV_ID" in *-1) exit 75;; esac'
    jobs.apply(
        "free",
        command=["sh", "-c", program],
        failurePolicy={
            "maxRestarts": 0,
            "backoffSeconds": 1,
            "rules": [{"exitCodes": [75], "action": "RestartFree"}],
        },
    )
    status = jobs.finished("free")
    assert status["phase"] == "Complete"
    assert (status["restarts"], status["interruptions"]) == (1, 1)


def test_a_rank_that_fails_at_the_same_step_again_and_again_is_not_restarted_for_ever(jobs):
    jobs.apply(
        "again",
        command=["python3", "-c", RANK_1_FAILS_AT_STEP_5],
        workers=2,
        failurePolicy={"maxRestarts": 50, "backoffSeconds": 1},
    )
    status = jobs.finished("again")
    assert failed(status)["reason"] == "RepeatedFailure"
    assert "rank 1 failed at step 5 in 3 attempts" in failed(status)["message"]
    assert [(a["rank"], a["step"]) for a in status["attempts"]] == [(1, 5)] * 3, status["attempts"]
    events = jobs.items("events")
    assert any("in 2 attempts" in event["message"] for event in events)


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("LimitRange", {"limits": [{"type": "Container", "max": {"memory": "192Mi"}}]}),
        ("ResourceQuota", {"hard": {"limits.memory": "192Mi"}}),
    ],
    ids=["LimitRange", "ResourceQuota"],
)
def test_memory_grows_after_running_out_of_it_as_far_as_the_namespace_allows(jobs, kind, spec):
    limit = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "most"}, "spec": spec}
    jobs.kubectl("apply", "-f", "-", input=json.dumps(limit))
    # A quarter of a gibibyte, a page at a time, so that the kernel has to give it.
    program = "block = bytearray(256 << 20)\nfor i in range(0, len(block), 4096): block[i] = 1"
    jobs.apply(
        "hungry",
        command=["python3", "-c", program],
        resources={"limits": {"memory": "128Mi"}},
        failurePolicy={"maxRestarts": 1, "backoffSeconds": 1, "growMemoryBy": "100%"},
    )
    status = jobs.finished("hungry")
    assert [a["class"] for a in status["attempts"]] == ["OutOfMemory"] * 2, status["attempts"]
    assert status["memory"] == "192Mi"
    events = jobs.items("events")
    assert any("192Mi of memory instead of 256Mi" in event["message"] for event in events)
    last = jobs.get("job", "hungry-2")["spec"]["template"]["spec"]["containers"][0]
    assert last["resources"]["limits"]["memory"] == "192Mi"


SLEEPS = ["sleep", "600"]


def end_attempt(jobs, name, number):
    """Take the running pod of this attempt away, as an eviction would."""
    jobs.until(name, "runs", lambda s: s.get("attempt") == number and s["phase"] == "Running")
    pod = first_worker(jobs, name, attempt=number)
    jobs.kubectl("delete", "pod", "--wait=false", "--grace-period=1", pod)
    return jobs.until(name, "starts again", lambda s: s.get("attempt") == number + 1)


def test_the_only_node_is_not_avoided_whatever_happened_there(jobs):
    jobs.apply("stay", command=SLEEPS, failurePolicy={"backoffSeconds": 1})
    end_attempt(jobs, "stay", 1)
    end_attempt(jobs, "stay", 2)
    status = jobs.until("stay", "runs", lambda s: s["attempt"] == 3 and s["phase"] == "Running")
    assert len({a["node"] for a in status["attempts"]}) == 1
    assert "avoided" not in status.get("placement", {})


@pytest.mark.alone
@pytest.mark.skipif(EXISTING, reason="nodes of an existing cluster are not ours to make")
def test_a_node_that_ended_two_attempts_is_avoided_where_there_is_another(jobs):
    # kwok's node ends pods by itself, so the first attempts have to run on the real one.
    real = {"key": "type", "operator": "NotIn", "values": ["kwok"]}
    prefers_real = {"weight": 100, "preference": {"matchExpressions": [real]}}
    template = {
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [prefers_real]}
        },
    }
    python("tests/cluster", "nodes", "1")
    try:
        jobs.apply("leave", command=SLEEPS, template=template, failurePolicy={"backoffSeconds": 1})
        end_attempt(jobs, "leave", 1)
        status = end_attempt(jobs, "leave", 2)
        (node,) = {a["node"] for a in status["attempts"]}
        status = jobs.until(
            "leave", "avoids the node", lambda s: (s.get("placement") or {}).get("avoided")
        )
        assert status["placement"]["avoided"] == [node]
        until("the third attempt's pod exists", lambda: jobs.items("pods", attempt_3("leave")))
        (pod,) = jobs.items("pods", attempt_3("leave"))
        until(
            "it runs elsewhere",
            lambda: (
                jobs.get("pod", pod["metadata"]["name"])["spec"].get("nodeName") not in (None, node)
            ),
        )
    finally:
        python("tests/cluster", "nodes", "0")


def attempt_3(name):
    """Selects the pods of the third attempt."""
    return f"training.lepton.ai/job-name={name},training.lepton.ai/attempt=3"
