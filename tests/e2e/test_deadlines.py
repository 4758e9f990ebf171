"""When a job starts, how long it may run and wait, and when it goes."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from support import condition, failed, until

SLEEPS = ["sleep", "600"]


def time_of(text):
    """A time of a status."""
    return datetime.fromisoformat(text)


def test_a_job_starts_at_its_time_and_not_before(jobs):
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    jobs.apply("later", command=["true"], startAt=start.isoformat())
    status = jobs.until("later", "waits", lambda s: s.get("reason") == "WaitingForStart")
    assert status["phase"] == "Pending"
    assert jobs.items("jobs") == []
    status = jobs.finished("later")
    assert status["phase"] == "Complete"
    assert time_of(status["startTime"]) >= start


def test_a_job_fails_when_its_pods_have_run_for_its_time(jobs):
    jobs.apply("long", command=SLEEPS, activeDeadlineSeconds=5)
    status = jobs.finished("long")
    assert failed(status)["reason"] == "DeadlineExceeded"
    assert status["activeSeconds"] >= 5
    assert status["restarts"] == 0
    until("its pods are gone", lambda: not jobs.items("pods"), timeout=90)


def test_time_in_which_a_job_is_suspended_is_not_counted(jobs):
    jobs.apply("rests", command=SLEEPS, activeDeadlineSeconds=40)
    jobs.until("rests", "runs", lambda s: s.get("activeSince"))
    jobs.patch("rests", suspend=True)
    resting = jobs.until("rests", "rests", lambda s: condition(s, "Suspended") == "True")
    assert "activeSince" not in resting
    assert resting["activeSeconds"] < 40
    jobs.patch("rests", suspend=False)
    running = jobs.until("rests", "runs again", lambda s: s.get("activeSince"))
    assert running["activeSeconds"] == resting["activeSeconds"]
    status = jobs.finished("rests")
    assert failed(status)["reason"] == "DeadlineExceeded"
    began, ended = time_of(running["activeSince"]), time_of(status["completionTime"])
    second_period = timedelta(seconds=status["activeSeconds"] - resting["activeSeconds"])
    assert ended - began == second_period


def test_a_job_that_no_node_has_room_for_fails_in_plain_words(jobs):
    jobs.apply(
        "greedy",
        command=["true"],
        resources={"limits": {"nvidia.com/gpu": 999}},
        pendingDeadlineSeconds=10,
    )
    waiting = jobs.until("greedy", "says why", lambda s: "free" in str(s.get("conditions")))
    assert "not enough free nvidia.com/gpu" in str(waiting["conditions"])
    status = jobs.finished("greedy")
    assert failed(status)["reason"] == "PendingDeadlineExceeded"
    assert "not enough free nvidia.com/gpu" in failed(status)["message"]
    until("nothing of it waits any more", lambda: not jobs.items("pods"), timeout=90)


def test_a_finished_job_is_deleted_with_all_that_it_owns(jobs):
    jobs.apply(
        "brief",
        command=["true"],
        workers=2,
        storage={"size": "10Mi"},
        ttlSecondsAfterFinished=5,
    )
    jobs.until("brief", "ends", lambda s: condition(s, "Complete") == "True")
    until("it is deleted", lambda: not jobs.items("ltj"))
    kinds = ("pods", "jobs", "services", "persistentvolumeclaims")
    until("nothing is left", lambda: not any(jobs.items(kind) for kind in kinds), timeout=90)


@pytest.fixture
def tidy(kubectl, operator):
    """The operator, started again to keep finished pods for a second, and then as it was."""
    deployment = ("-n", operator, "deployment/lepton-operator")
    path = "/spec/template/spec/containers/0/args/-"
    option = {"op": "add", "path": path, "value": "--finished-pods-seconds=1"}
    kubectl("patch", *deployment, "--type=json", "-p", json.dumps([option]))
    kubectl("rollout", "status", *deployment)
    yield
    kubectl("rollout", "undo", *deployment)
    kubectl("rollout", "status", *deployment)


@pytest.mark.alone
def test_finished_pods_go_after_their_time_and_the_job_stays(jobs, tidy):
    jobs.apply("tidied", command=["true"], workers=2)
    ended = jobs.finished("tidied")
    until("its pods are gone", lambda: not jobs.items("pods") + jobs.items("jobs"))
    assert ended["phase"] == "Complete"
    assert jobs.status("tidied") == ended
