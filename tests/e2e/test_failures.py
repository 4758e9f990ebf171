"""What a user sees when a job goes wrong, and what the operator does about it."""

import json
import uuid

import pytest

from steps import EXISTING
from support import condition, failed, first_worker, first_worker_files, first_worker_log, until

RAISES_IN_RANK_1 = """
import os, time
rank = int(os.environ["RANK"])
print("rank", rank, "of", os.environ["WORLD_SIZE"], flush=True)
if rank == 1:
    raise ValueError("boom in the second worker")
time.sleep(600)
"""


def test_an_error_in_rank_1_is_told_with_rank_exit_code_and_last_line(jobs):
    jobs.apply(
        "raises",
        command=["python3", "-c", RAISES_IN_RANK_1],
        workers=2,
        failurePolicy={"maxRestarts": 1, "backoffSeconds": 1},
    )
    status = jobs.finished("raises")
    assert status["phase"] == "Failed"
    assert status["restarts"] == 1, status["attempts"]
    assert [a["number"] for a in status["attempts"]] == [1, 2], status["attempts"]
    for attempt in status["attempts"]:
        assert attempt["class"] == "Application", attempt
        assert attempt["rank"] == 1
        assert attempt["exitCode"] == 1
        assert attempt["node"]
        assert "ValueError: boom in the second worker" in attempt["message"]
    assert failed(status)["reason"] == "MaxRestartsExceeded"
    assert "ValueError: boom in the second worker" in failed(status)["message"]
    assert condition(status, "Complete") != "True"
    # The last attempt's pod is still there for `kubectl logs`.
    pods = jobs.items("pods", "training.lepton.ai/job-name=raises,training.lepton.ai/attempt=2")
    assert any("boom" in jobs.kubectl("logs", p["metadata"]["name"]).stdout for p in pods)


ADDS_UP_THEN_RAISES_IN_RANK_1 = """
import os
import torch
import torch.distributed as dist
dist.init_process_group("gloo")
rank = torch.tensor(dist.get_rank() + 1)
dist.all_reduce(rank)
if os.environ["LOCAL_RANK"] == "1":
    raise RuntimeError(f"rank 1 of {dist.get_world_size()} has no data, {rank} in all")
dist.barrier()
"""


def test_torchrun_starts_a_process_for_each_gpu_and_its_last_line_is_told_not_torchruns(jobs):
    program = ADDS_UP_THEN_RAISES_IN_RANK_1
    shell = f"cat > /tmp/train.py <<'END'\n{program}END\nexec torchrun /tmp/train.py"
    jobs.apply(
        "torchrun",
        command=["sh", "-c", shell],
        resources={"limits": {"nvidia.com/gpu": 2}},
        failurePolicy={"maxRestarts": 0},
    )
    status = jobs.finished("torchrun")
    assert status["phase"] == "Failed"
    (attempt,) = status["attempts"]
    assert "RuntimeError: rank 1 of 2 has no data, 3 in all" in attempt["message"]
    assert (attempt["rank"], attempt["exitCode"]) == (1, 1), attempt


def test_an_image_that_does_not_exist_fails_the_job_with_the_reason(jobs):
    jobs.apply("noimage", image="localhost/lepton/no-such-image:1", command=["true"])
    status = jobs.finished("noimage")
    assert status["phase"] == "Failed"
    assert failed(status)["reason"] == "ImagePullFailed"
    assert "no-such-image" in failed(status)["message"]
    assert status["restarts"] == 0


def test_a_command_that_does_not_exist_fails_the_job_at_once(jobs):
    jobs.apply("nocommand", command=["/no/such/program"])
    status = jobs.finished("nocommand")
    assert status["phase"] == "Failed"
    assert failed(status)["reason"] == "ContainerCannotStart"
    assert status["restarts"] == 0


def test_an_unknown_environment_is_an_invalid_spec_and_not_retried(jobs):
    jobs.apply("unknown", environment={"name": "CartPoll-v1"})
    status = jobs.finished("unknown")
    assert status["phase"] == "Failed"
    assert failed(status)["reason"] == "InvalidSpec"
    assert "CartPole-v1" in failed(status)["message"]
    assert status["restarts"] == 0


def test_wrong_hyperparameters_are_refused_before_any_pod(jobs):
    jobs.apply("wrong", environment={}, agent={"hyperparameters": {"learningrat": 1}})
    status = jobs.finished("wrong", timeout=30)
    assert failed(status)["reason"] == "InvalidSpec"
    assert "learningrat" in failed(status)["message"]
    assert jobs.items("pods") == []


def test_a_pod_deleted_by_hand_is_made_up_for_from_the_last_checkpoint(jobs):
    jobs.apply(
        "kept",
        environment={"count": 64},
        trainer={"maxSteps": 100_000_000},
        checkpoint={"everySeconds": 2},
        workers=2,
        storage={"size": "100Mi"},
        failurePolicy={"maxRestarts": 0},
    )
    jobs.until("kept", "is under way", lambda s: (s.get("progress") or {}).get("step"))
    until(
        "a checkpoint is written",
        lambda: ".pt" in first_worker_files(jobs, "kept", attempt=1),
    )
    reached = jobs.status("kept")["progress"]["step"]
    pods = jobs.items("pods", "training.lepton.ai/job-name=kept")
    jobs.kubectl("delete", "pod", "--wait=false", pods[1]["metadata"]["name"])
    status = jobs.until("kept", "restarts", lambda s: s.get("attempt") == 2)
    status = jobs.until(
        "kept",
        "goes on",
        lambda s: s["phase"] == "Running" and s["progress"].get("step", 0) > reached,
    )
    assert status["restarts"] == 1, status["attempts"]
    (attempt,) = status["attempts"]
    assert attempt["class"] == "Infrastructure", attempt
    assert "resum" in first_worker_log(jobs, "kept", attempt=2)


@pytest.fixture
def slot(kubectl):
    """A resource that no other test asks for, of which the node has one."""
    name = f"example.com/slot-{uuid.uuid4().hex[:8]}"
    paths = [f"/status/{kind}/{name.replace('/', '~1')}" for kind in ("capacity", "allocatable")]

    def patch(**operation):
        body = json.dumps([{"path": path, **operation} for path in paths])
        kubectl("patch", "node", "node-1", "--subresource=status", "--type=json", "-p", body)

    patch(op="add", value="1")
    yield name
    patch(op="remove")


@pytest.fixture
def urgent(kubectl):
    """A priority class above that of others."""
    name = f"lepton-{uuid.uuid4().hex[:8]}"
    kubectl("create", "priorityclass", name, "--value=1000")
    yield name
    kubectl("delete", "priorityclass", name)


@pytest.mark.skipif(EXISTING, reason="nodes of an existing cluster are not ours to change")
def test_a_pod_that_is_evicted_or_preempted_is_made_up_for_for_free(jobs, kubectl, slot, urgent):
    jobs.apply(
        "moved",
        command=["sh", "-c", "trap 'exit 143' TERM; sleep 600 & wait"],
        resources={"limits": {slot: 1}},
        failurePolicy={"maxRestarts": 0, "backoffSeconds": 1},
    )
    jobs.until("moved", "runs", lambda s: s["phase"] == "Running")
    pod = first_worker(jobs, "moved", attempt=1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{jobs.namespace}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    jobs.until("moved", "runs again", lambda s: s["attempt"] == 2 and s["phase"] == "Running")
    jobs.apply(
        "urgent",
        command=["true"],
        resources={"limits": {slot: 1}},
        scheduling={"priorityClassName": urgent},
    )
    assert jobs.finished("urgent")["phase"] == "Complete"
    status = jobs.until(
        "moved", "runs a third time", lambda s: s["attempt"] == 3 and s["phase"] == "Running"
    )
    assert [(a["class"], a["reason"]) for a in status["attempts"]] == [
        ("Infrastructure", "Evicted"), ("Infrastructure", "Preempted"),
    ], status["attempts"]  # fmt: skip
    first, second = (attempt["message"] for attempt in status["attempts"])
    assert "the pod of rank 0 on node-1 was evicted to drain its node" in first
    assert "the pod of rank 0 on node-1 was preempted by the scheduler" in second
    assert (status["restarts"], status["interruptions"]) == (2, 2)
