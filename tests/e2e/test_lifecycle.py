"""Suspend, resume, end, delete; and what happens to jobs while the operator is gone."""

import time
from datetime import datetime, timedelta

import pytest

from support import condition, failed, first_worker_log, until

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


def test_what_happens_to_a_job_after_its_end_changes_nothing_of_its_status(jobs):
    jobs.apply("good", command=["true"], workers=2)
    jobs.apply("bad", command=["false"], failurePolicy={"maxRestarts": 0})
    ends = {name: jobs.finished(name) for name in ("good", "bad")}
    assert [status["phase"] for status in ends.values()] == ["Complete", "Failed"]
    jobs.kubectl("delete", "pods", "--all")
    jobs.kubectl("delete", "jobs", "--all")
    jobs.patch("good", suspend=True)
    jobs.patch("bad", failurePolicy={"maxRestarts": 5})
    # What comes later is seen later.
    jobs.apply("after", command=["true"])
    assert jobs.finished("after")["phase"] == "Complete"
    assert {name: jobs.status(name) for name in ends} == ends
    (job,) = jobs.items("jobs")
    assert job["metadata"]["name"] == "after-1"


def test_deleting_a_running_job_leaves_nothing_behind(jobs):
    jobs.apply("gone", **ENDLESS, workers=2, storage={"size": "100Mi"})
    jobs.until("gone", "runs", lambda s: s.get("phase") == "Running")
    jobs.kubectl("delete", "ltj", "gone")
    kinds = ("pods", "jobs", "services", "persistentvolumeclaims", "endpointslices")
    until("nothing is left", lambda: not any(jobs.items(kind) for kind in kinds), timeout=90)


@pytest.mark.alone
def test_training_and_its_clock_go_on_while_the_operator_is_killed_and_status_catches_up(
    jobs, kubectl, operator
):
    jobs.apply("orphan", **ENDLESS)
    before = jobs.until("orphan", "is under way", lambda s: (s.get("progress") or {}).get("step"))
    (pod,) = jobs.items("pods")
    jobs.apply("timed", command=["sleep", "600"], activeDeadlineSeconds=15)
    clock = jobs.until("timed", "runs", lambda s: s["phase"] == "Running" and s["activeSince"])
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
    selector = "training.lepton.ai/job-name=orphan"
    assert [p["metadata"]["uid"] for p in jobs.items("pods", selector)] == [pod["metadata"]["uid"]]
    ended = jobs.finished("timed")
    assert failed(ended)["reason"] == "DeadlineExceeded"
    assert (ended["attempt"], ended["restarts"]) == (1, 0)
    began, end = (
        datetime.fromisoformat(t) for t in (clock["activeSince"], ended["completionTime"])
    )
    assert end - began == timedelta(seconds=ended["activeSeconds"])
