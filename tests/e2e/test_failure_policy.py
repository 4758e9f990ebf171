"""What failurePolicy asks for: rules by exit code, the same failure again, memory, nodes."""

import json

from support import failed

FAILS_AT_STEP_5 = """
import time, lepton
for step in range(1, 6):
    lepton.report(step=step, total=100)
    time.sleep(0.1)
raise ValueError("bad sample")
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
    assert (attempt["class"], attempt["exitCode"]) == ("Application", 3)


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
        command=["python3", "-c", FAILS_AT_STEP_5],
        failurePolicy={"maxRestarts": 50, "backoffSeconds": 1},
    )
    status = jobs.finished("again")
    assert failed(status)["reason"] == "RepeatedFailure"
    assert "rank 0 failed at step 5 in 3 attempts" in failed(status)["message"]
    assert [(a["rank"], a["step"]) for a in status["attempts"]] == [(0, 5)] * 3
    events = jobs.items("events")
    assert any("in 2 attempts" in event["message"] for event in events)


def test_memory_grows_after_running_out_of_it_as_far_as_the_namespace_allows(jobs):
    limit = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "most"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "192Mi"}}]},
    }
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
    assert [a["class"] for a in status["attempts"]] == ["OutOfMemory"] * 2
    assert status["memory"] == "192Mi"
    events = jobs.items("events")
    assert any("192Mi of memory instead of 256Mi" in event["message"] for event in events)
    last = jobs.get("job", "hungry-2")["spec"]["template"]["spec"]["containers"][0]
    assert last["resources"]["limits"]["memory"] == "192Mi"
