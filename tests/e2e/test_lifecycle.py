"""Suspend, resume, delete; and what happens to jobs while the operator is gone."""

import time

import pytest

from support import condition, first_worker_log, until

ENDLESS = {
    "environment": {"count": 64},
    "trainer": {"maxSteps": 100_000_000},
    "checkpoint": {"everySeconds": 2},
}


def test_a_job_made_suspended_has_no_pods_until_it_is_resumed(jobs):
    jobs.apply("later", command=["true"], suspend=True)
    jobs.until("later", "is suspended", lambda s: s.get("phase") == "Suspended")
    assert jobs.items("pods") == []
    assert jobs.items("jobs") == []
    jobs.patch("later", suspend=False)
    assert jobs.finished("later")["phase"] == "Complete"


def test_a_running_job_continues_after_suspension_where_it_stopped(jobs):
    jobs.apply("pause", **ENDLESS, storage={"size": "100Mi"})
    jobs.until("pause", "is under way", lambda s: (s.get("progress") or {}).get("step", 0) > 0)
    jobs.patch("pause", suspend=True)
    status = jobs.until("pause", "is suspended", lambda s: condition(s, "Suspended") == "True")
    assert status["phase"] == "Suspended"
    until("its pods are gone", lambda: not jobs.items("pods"), timeout=60)
    reached = jobs.status("pause")["progress"]["step"]
    jobs.patch("pause", suspend=False)
    status = jobs.until(
        "pause", "goes on", lambda s: s["phase"] == "Running" and s["progress"]["step"] > reached
    )
    assert status["restarts"] == 0
    assert status["attempt"] == 1
    assert "resum" in first_worker_log(jobs, "pause", attempt=1)


def test_deleting_a_running_job_leaves_nothing_behind(jobs):
    jobs.apply("gone", **ENDLESS, workers=2, storage={"size": "100Mi"})
    jobs.until("gone", "runs", lambda s: s.get("phase") == "Running")
    jobs.kubectl("delete", "ltj", "gone")
    kinds = ("pods", "jobs", "services", "persistentvolumeclaims", "endpointslices")
    until("nothing is left", lambda: not any(jobs.items(kind) for kind in kinds), timeout=90)


@pytest.mark.alone
def test_training_goes_on_while_the_operator_is_killed_and_status_catches_up(
    jobs, kubectl, operator
):
    jobs.apply("orphan", **ENDLESS)
    before = jobs.until("orphan", "is under way", lambda s: (s.get("progress") or {}).get("step"))
    (pod,) = jobs.items("pods")
    selector = "app.kubernetes.io/name=lepton-operator"
    # No grace period: the processes get SIGKILL, both of them, so that no standby takes over.
    kubectl("-n", operator, "delete", "pods", "-l", selector, "--grace-period=0", "--force")
    kubectl(
        "-n", operator, "wait", "--for=condition=Available", "--timeout=60s", "deployment",
        "-l", selector,
    )  # fmt: skip
    returned = time.monotonic()
    status = jobs.until(
        "orphan",
        "catches up",
        lambda s: s["progress"]["step"] > before["progress"]["step"],
        timeout=60,
    )
    print(f"status caught up {time.monotonic() - returned:.1f} s after the operator's return")
    assert status["restarts"] == 0
    assert status["attempt"] == 1
    assert [p["metadata"]["uid"] for p in jobs.items("pods")] == [pod["metadata"]["uid"]]
