"""Which failure it is, and what is told of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from situations import (
    NOW,
    SETTINGS,
    at,
    batch_job,
    deleted,
    ended,
    failed_job,
    pod,
    running,
    training_job,
    word,
)

from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.validation import parse_spec
from lepton_operator.reconcile.failure import Failure, NotYet, find_failure
from lepton_operator.reconcile.observed import Observed
from lepton_operator.reconcile.situation import Situation

LOGS = Path(__file__).parents[2] / "data" / "logs"
PEER_GONE = "RuntimeError: [gloo/pair.cc:561] Connection closed by peer [10.0.0.1]:4711"


def find(*pods, job=None, now=NOW, spec=None, **observed):
    """What is found with these pods of a job with two workers that failed."""
    owner = training_job(running(), **{"workers": 2, **(spec or {})})
    batch = replace(job or failed_job(5), workers=owner.spec["workers"])
    seen = Observed(jobs=(batch,), pods=pods, **observed)
    return find_failure(Situation(owner, parse_spec(owner.spec), seen, SETTINGS, now))


def test_pods_that_run_or_are_done_are_no_failure():
    assert find(pod(0), ended(1, code=0), job=batch_job()) is None


def test_an_error_names_rank_code_node_and_the_last_line_of_the_traceback():
    failure = find(
        pod(0), ended(1), last_words={"pod-uid-1-1": word("ValueError: boom", "train.py:12")}
    )
    assert failure == Failure(
        FailureClass.APPLICATION,
        Reason.ERROR,
        "rank 1 exited with code 1 on node-1: ValueError: boom (train.py:12)",
        rank=1,
        exit_code=1,
        node="node-1",
    )


def test_the_last_word_tells_the_global_rank_of_a_process():
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 4}}}
    said = {"pod-uid-1-1": word("ValueError: a", rank=5)}
    failure = find(ended(1), pod(0), spec=gpus, last_words=said)
    assert failure.rank == 5
    assert failure.message.startswith("rank 5 exited")


def test_without_a_last_word_the_log_tells():
    text = (LOGS / "torchrun-peers.log").read_text()
    failure = find(ended(0), pod(1), log_tails={"pod-uid-1-0": text})
    assert failure.message == "rank 1 exited with code 1 on node-0: " + (
        "ValueError: boom in rank 1 (train.py:9)"
    )


def test_a_process_killed_below_torchrun_is_told_by_its_signal():
    text = (LOGS / "torchrun-killed.log").read_text()
    failure = find(ended(0), pod(1), log_tails={"pod-uid-1-0": text})
    assert failure.message == "rank 1 was killed by SIGKILL on node-0"
    assert failure.exit_code == 137


def test_without_a_log_the_termination_message_tells():
    failure = find(ended(0, code=127, termination_message="sh: 1: trian: not found\n"), pod(1))
    assert failure.message == "rank 0 exited with code 127 on node-0: sh: 1: trian: not found"


def test_with_nothing_else_the_code_tells():
    assert find(ended(0, code=139), pod(1)).message == "rank 0 was killed by SIGSEGV on node-0"
    assert find(ended(0, code=3), pod(1)).message == "rank 0 exited with code 3 on node-0"


def test_a_last_word_in_json_is_never_told_as_text():
    said = word("x").model_copy(update={"error": None})
    failure = find(
        ended(0, termination_message=said.to_json()), pod(1), last_words={"pod-uid-1-0": said}
    )
    assert failure.message == "rank 0 exited with code 1 on node-0"


def test_out_of_memory_is_a_class_of_its_own():
    failure = find(ended(0, code=137, termination_reason="OOMKilled"), pod(1))
    assert failure.failure_class is FailureClass.OUT_OF_MEMORY
    assert failure.message == "rank 0 ran out of memory on node-0"


def test_killed_without_oom_is_the_applications():
    failure = find(ended(0, code=137), pod(1))
    assert failure.failure_class is FailureClass.APPLICATION
    assert "was killed by SIGKILL" in failure.message


def test_a_pod_deleted_in_the_second_of_its_start_tells_its_node():
    taken = deleted(pod(0, created_time=at(-60)), seconds=-60)
    failure = find(taken, pod(1), job=batch_job())
    assert (failure.reason, failure.node) == (Reason.POD_DELETED, "node-0")


def test_the_earliest_failure_is_the_cause():
    failure = find(ended(0, seconds=2), ended(1, seconds=1))
    assert failure.rank == 1


def test_a_lost_connection_is_never_the_cause_while_there_is_another():
    failure = find(
        ended(0, seconds=0),
        ended(1, seconds=3),
        log_tails={
            "pod-uid-1-0": f"Traceback (most recent call last):\n{PEER_GONE}",
            "pod-uid-1-1": "Traceback (most recent call last):\nKeyError: 'x'",
        },
    )
    assert failure.rank == 1
    assert "KeyError" in failure.message


def test_what_a_process_itself_calls_secondary_is():
    failure = find(
        ended(0),
        ended(1),
        last_words={
            "pod-uid-1-0": word("RuntimeError: peers", secondary=True),
            "pod-uid-1-1": word("ValueError: boom"),
        },
    )
    assert "ValueError" in failure.message


def test_alone_there_is_no_peer_to_lose():
    failure = find(ended(0), spec={"workers": 1}, log_tails={"pod-uid-1-0": PEER_GONE})
    assert failure.failure_class is FailureClass.APPLICATION


def test_pods_that_the_job_controller_ends_are_not_the_cause():
    failure = find(
        ended(0, seconds=1), deleted(ended(1, code=143, seconds=4), 3), job=failed_job(2)
    )
    assert (failure.rank, failure.failure_class) == (0, FailureClass.APPLICATION)


def test_a_pod_deleted_by_hand_is_an_interruption_though_its_peers_fail():
    failure = find(
        deleted(ended(0, code=143, seconds=2), 0),
        ended(1, seconds=2),
        job=failed_job(3),
        last_words={"pod-uid-1-1": word(PEER_GONE, secondary=True)},
    )
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert failure.reason is Reason.POD_DELETED
    assert failure.message == "the pod of rank 0 on node-0 was deleted"


def test_a_pod_deleted_by_hand_that_exits_with_0_is_an_interruption_too():
    failure = find(
        deleted(ended(0, code=0, seconds=1), 0),
        ended(1, seconds=1),
        last_words={"pod-uid-1-1": word(PEER_GONE, secondary=True)},
    )
    assert failure.reason is Reason.POD_DELETED


def test_a_pod_that_vanished_is_an_interruption():
    failure = find(deleted(ended(1, code=143, seconds=9), 7), job=failed_job(6))
    assert failure.reason is Reason.POD_DELETED
    assert failure.message == "the pod of rank 0 is gone"


def test_a_failed_pod_deleted_afterwards_keeps_its_own_error():
    failure = find(
        deleted(ended(0, seconds=1), 4), pod(1), last_words={"pod-uid-1-0": word("ValueError: a")}
    )
    assert failure.failure_class is FailureClass.APPLICATION


@pytest.mark.parametrize(
    ("told", "reason", "text"),
    [
        ({"disruption": "PreemptionByScheduler"}, Reason.PREEMPTED, "preempted by the scheduler"),
        ({"disruption": "DeletionByTaintManager"}, Reason.NODE_LOST, "its node is unhealthy"),
        ({"disruption": "EvictionByEvictionAPI"}, Reason.EVICTED, "evicted to drain its node"),
        ({"disruption": "TerminationByKubelet"}, Reason.EVICTED, "ended by the kubelet"),
        ({"disruption": "SomethingNew"}, Reason.EVICTED, "disrupted (SomethingNew)"),
        ({"reason": "Evicted"}, Reason.EVICTED, "evicted by the kubelet"),
        ({"reason": "NodeShutdown"}, Reason.NODE_LOST, "its node shut down"),
    ],
)
def test_what_the_infrastructure_does_is_an_interruption(told, reason, text):
    failure = find(ended(0, code=137, **told), pod(1))
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert failure.reason is reason
    assert text in failure.message
    assert failure.node == "node-0"


def test_a_container_that_never_ran_is_invalid():
    failure = find(
        ended(
            0,
            code=128,
            termination_reason="StartError",
            termination_message='exec: "/no/such": no such file or directory',
        )
    )
    assert failure.failure_class is FailureClass.INVALID
    assert failure.reason is Reason.CONTAINER_CANNOT_START
    assert "/no/such" in failure.message


def test_an_error_that_the_program_calls_invalid_is_invalid():
    failure = find(ended(0), pod(1), last_words={"pod-uid-1-0": word("no such env", invalid=True)})
    assert failure.failure_class is FailureClass.INVALID
    assert failure.reason is Reason.INVALID_SPEC


REFUSED = 'Back-off pulling image "x": ErrImagePull: x: not found'


@pytest.mark.parametrize(
    ("reason", "message", "seconds", "found"),
    [
        ("InvalidImageName", "bad", 0, True),
        ("ImagePullBackOff", REFUSED, 30, False),
        ("ImagePullBackOff", REFUSED, 60, True),
        ("ErrImagePull", "dial tcp: i/o timeout", 60, False),
        ("ErrImagePull", "dial tcp: i/o timeout", 600, True),
        ("ContainerCreating", None, 6000, False),
    ],
)
def test_an_image_gets_time_to_appear_but_not_for_ever(reason, message, seconds, found):
    waiting = pod(
        0,
        phase="Pending",
        ready=False,
        waiting_reason=reason,
        waiting_message=message,
        started_time=at(-seconds),
    )
    failure = find(waiting, job=batch_job())
    if found:
        assert failure.failure_class is FailureClass.INVALID
        assert failure.reason is Reason.IMAGE_PULL_FAILED
        assert message in failure.message
    else:
        assert not isinstance(failure, Failure)


def test_a_missing_secret_is_told_after_a_minute():
    waiting = pod(
        1,
        phase="Pending",
        waiting_reason="CreateContainerConfigError",
        waiting_message='secret "token" not found',
    )
    failure = find(pod(0), waiting, job=batch_job())
    assert failure.reason is Reason.CONTAINER_CANNOT_START
    assert 'secret "token" not found' in failure.message


def test_a_failure_waits_for_more_evidence_while_the_job_ends():
    job = batch_job(failing_time=at(1))
    assert find(ended(0), pod(1), job=job, now=at(2)) == NotYet(at(10) - at(2))
    assert isinstance(find(ended(0), pod(1), job=job, now=at(10)), Failure)


def test_a_pod_taken_away_before_anything_failed_explains_it_at_once():
    """Soon its traces are gone; and on a node that does not answer it would never end."""
    stuck = deleted(pod(0, disruption="DeletionByTaintManager"), 0)
    failure = find(stuck, pod(1), job=batch_job(), now=at(1))
    assert failure.reason is Reason.NODE_LOST
    gone = find(deleted(pod(1), 0), pod(0), job=batch_job(), now=at(1))
    assert gone.message == "the pod of rank 1 on node-1 was deleted"


def test_a_pod_whose_end_the_job_controller_may_have_asked_for_explains_nothing_yet():
    """The pod's deletion may be seen before the Job's failure that it follows."""
    pods = (ended(0, seconds=1), deleted(pod(1), 1))
    said = {"pod-uid-1-0": word(PEER_GONE, secondary=True)}
    assert isinstance(find(*pods, job=batch_job(), now=at(2), last_words=said), NotYet)


def test_deleting_a_pod_that_is_done_is_no_failure():
    assert find(deleted(ended(0, code=0, seconds=1), 1), pod(1), job=batch_job()) is None
    assert find(deleted(ended(0, code=0, seconds=1), 9), pod(1), job=batch_job()) is None


def test_several_pods_that_vanished_are_counted():
    failure = find(job=failed_job(6))
    assert (failure.message, failure.rank) == ("2 of 2 pods are gone", None)


def test_pods_of_a_job_that_is_suspended_may_exit_as_they_like():
    gone = deleted(ended(0, code=143), 0)
    assert find(gone, pod(1), job=batch_job(suspended=True)) is None
    assert find(gone, pod(1), job=batch_job(), spec={"suspend": True}) is None


def test_pods_that_run_in_a_job_that_failed_are_old_news_and_waited_for():
    assert isinstance(find(pod(0), pod(1), job=failed_job()), NotYet)
    assert isinstance(find(pod(0), pod(1), job=failed_job(), now=at(119)), NotYet)
    assert find(ended(0), pod(1), job=failed_job()).reason is Reason.ERROR
    assert find(job=failed_job()).reason is Reason.POD_DELETED


def test_a_job_that_failed_for_no_visible_reason_says_so():
    job = replace(failed_job(), failed_reason="DeadlineExceeded", failed_message="too long")
    failure = find(pod(0), pod(1), job=job, now=at(120))
    assert failure.reason is Reason.JOB_FAILED
    assert failure.message == "Job job-1 failed: too long"


def test_a_message_stays_one_short_line():
    failure = find(ended(0), pod(1), last_words={"pod-uid-1-0": word("E: " + "a\n\x00" * 300)})
    assert len(failure.message) <= 1000
    assert failure.message.isprintable()
