"""A worker that its peers hear nothing of: frozen, out of its kubelet's reach, or cut off."""

import json
import os
import signal

import pytest
from lepton_cluster import machine
from lepton_cluster.layout import default_layout

from steps import EXISTING
from support import first_worker_files, first_worker_log, until

pytestmark = pytest.mark.skipif(
    EXISTING, reason="processes and network of an existing cluster are not ours to touch"
)

INDEX = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def pair(jobs):
    """Two workers that train and have a checkpoint; their pods, by rank."""
    jobs.apply(
        "pair",
        environment={"count": 64},
        trainer={"maxSteps": 100_000_000},
        checkpoint={"everySeconds": 1},
        storage={"size": "100Mi"},
        workers=2,
        failurePolicy={"backoffSeconds": 1},
    )
    jobs.until("pair", "runs", lambda s: s["phase"] == "Running")
    until("a checkpoint is written", lambda: ".pt" in first_worker_files(jobs, "pair", attempt=1))
    pods = jobs.items("pods")
    return sorted(pods, key=lambda pod: int(pod["metadata"]["annotations"][INDEX]))


def trainer_of(pod):
    """The pid of a worker's program on this machine."""
    (found,) = (
        pid
        for pid in machine.all_pids()
        if machine.command_of(pid)[-2:] == ["/opt/lepton/bin/lepton", "worker"]
        and pod["metadata"]["uid"] in (machine.PROC / str(pid) / "cgroup").read_text()
    )
    return found


def lost_attempt(jobs):
    """What is told of the attempt, once the next one goes on from its checkpoint, and how many
    interruptions are counted."""
    status = jobs.until(
        "pair", "runs again", lambda s: s["attempt"] == 2 and s["phase"] == "Running"
    )
    until(
        "it goes on from the checkpoint",
        lambda: "resumed from the checkpoint" in first_worker_log(jobs, "pair", attempt=2),
    )
    (attempt,) = status["attempts"]
    assert "has given no sign of life for 8 s" in attempt["message"]
    assert status["restarts"] == 1
    return attempt, status["interruptions"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_worker_that_stands_still_is_named_and_has_stalled(jobs, pair, rank):
    os.kill(trainer_of(pair[rank]), signal.SIGSTOP)
    attempt, interruptions = lost_attempt(jobs)
    assert (attempt["class"], attempt["reason"]) == ("Stalled", "NoProgress")
    assert (attempt["rank"], attempt["node"]) == (rank, "node-1")
    assert interruptions == 0


def test_a_worker_that_stands_still_and_that_nothing_ends_was_on_a_lost_node(jobs, pair):
    program = trainer_of(pair[1])
    with (machine.PROC / str(program) / "stat").open() as stat:
        # The containerd-shim, by which alone the kubelet reaches the container.
        shim = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(program, signal.SIGSTOP)
    os.kill(shim, signal.SIGSTOP)
    try:
        attempt, interruptions = lost_attempt(jobs)
    finally:
        os.kill(shim, signal.SIGCONT)
    assert (attempt["class"], attempt["reason"]) == ("Infrastructure", "NodeLost")
    assert (attempt["rank"], attempt["node"]) == (1, "node-1")
    assert interruptions == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_workers_that_run_and_do_not_hear_each_other_lost_the_network(jobs, pair, rank):
    init = machine.find_init(default_layout())
    assert init is not None
    address = pair[rank]["status"]["podIP"]
    (way,) = json.loads(machine.run(init, ["ip", "-json", "route", "get", address]))
    machine.run(init, ["ip", "link", "set", way["dev"], "down"])
    attempt, interruptions = lost_attempt(jobs)
    assert (attempt["class"], attempt["reason"]) == ("Infrastructure", "NetworkLost")
    assert "rank" not in attempt
    assert "node" not in attempt
    assert interruptions == 1
