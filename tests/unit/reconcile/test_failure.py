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
    is_true,
    plan_for,
    pod,
    running,
    training_job,
    word,
)

from lepton_operator.api.names import ConditionType, FailureClass, Reason
from lepton_operator.api.validation import parse_spec
from lepton_operator.reconcile.failure import Failure, NotYet, find_failure
from lepton_operator.reconcile.observed import Observed
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import one_line

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


def test_a_pod_that_ended_and_is_gone_since_is_no_pod_that_vanished():
    """Its peer was seen to fail first, and Kubernetes deleted what was left."""
    lost = {"pod-uid-1-1": word(PEER_GONE, secondary=True)}
    first = deleted(ended(0, code=9, seconds=1), 3)
    failure = find(ended(1, seconds=2), departed=(first,), job=failed_job(3), last_words=lost)
    assert (failure.rank, failure.exit_code) == (0, 9)
    assert failure.failure_class is FailureClass.APPLICATION


@pytest.mark.parametrize(("code", "found"), [(9, "APPLICATION"), (143, "INFRASTRUCTURE")])
def test_what_ends_in_the_second_in_which_its_job_fails_is_told_by_how_it_ended(code, found):
    lost = {"pod-uid-1-1": word(PEER_GONE, secondary=True)}
    first = deleted(ended(0, code=code, seconds=2), 2)
    failure = find(first, ended(1, seconds=2), job=failed_job(2), last_words=lost)
    assert failure.failure_class is FailureClass[found]


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
        (
            {"termination_reason": "ContainerStatusUnknown", "finished_time": None},
            Reason.NODE_LOST,
            "lost its container",
        ),
        ({"termination_reason": "Unknown"}, Reason.NODE_LOST, "lost its container"),
    ],
)
def test_what_the_infrastructure_does_is_an_interruption(told, reason, text):
    failure = find(ended(0, code=137, **told), pod(1))
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert failure.reason is reason
    assert text in failure.message
    assert failure.node == "node-0"


def refused(rank, reason, message=None, **more):
    """A pod that the kubelet did not admit."""
    ran_never = {"running_since": None, "ready": False, "phase": "Failed"}
    return pod(rank, reason=reason, message=message, **(ran_never | more))


@pytest.mark.parametrize(
    "reason",
    [
        "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage", "OutOfnvidia.com/gpu",
        "NodeAffinity", "NodeName", "NodePorts", "TaintToleration", "TopologyAffinityError",
        "UnexpectedAdmissionError", "SMTAlignmentError", "InvalidNodeInfo", "AReasonOf2030",
    ],
)  # fmt: skip
def test_a_pod_that_its_node_refuses_is_an_interruption(reason):
    failure = find(refused(0, reason), pod(1))
    assert failure == Failure(
        FailureClass.INFRASTRUCTURE,
        Reason.REJECTED,
        f"the pod of rank 0 on node-0 was refused by its node ({reason})",
        rank=0,
        node="node-0",
    )


def test_what_the_kubelet_says_of_a_refusal_or_an_eviction_is_told():
    said = "Pod was rejected: Allocate failed due to no healthy devices present"
    failure = find(refused(1, "UnexpectedAdmissionError", said), pod(0))
    assert failure.message == (
        "the pod of rank 1 on node-1 was refused by its node (UnexpectedAdmissionError):"
        " Allocate failed due to no healthy devices present"
    )
    failure = find(ended(0, code=137, reason="Evicted", message="low on resource: memory"), pod(1))
    assert failure.message.endswith("was evicted by the kubelet: low on resource: memory")


def test_a_node_that_is_started_anew_refuses_a_pod_whatever_became_of_its_container():
    failure = find(ended(0, code=255, reason="UnexpectedAdmissionError"), pod(1))
    assert (failure.reason, failure.node) == (Reason.REJECTED, "node-0")


def test_a_refusal_explains_what_peers_die_of_at_once():
    peer = ended(1, seconds=5)
    failure = find(refused(0, "OutOfcpu", started_time=at(0)), peer, job=batch_job(), now=at(6))
    assert failure.reason is Reason.REJECTED


def test_what_nodes_refuse_costs_no_restart_and_names_the_node():
    job = training_job(running(), failurePolicy={"maxRestarts": 0})
    plan = plan_for(job, jobs=(failed_job(),), pods=(refused(0, "OutOfnvidia.com/gpu"),))
    assert (plan.status.restarts, plan.status.interruptions) == (1, 1)
    assert not is_true(plan, ConditionType.FAILED)
    assert plan.status.attempts[-1].node == "node-0"


CREATE = "failed to create shim task: OCI runtime create failed: runc create failed: "
INIT = "unable to start container process: error during container init: "
HOOK = f"{CREATE}{INIT}error running prestart hook #0: exit status 1, stdout: , stderr: "
NVIDIA = f"{HOOK}Auto-detected mode as 'legacy'\nnvidia-container-cli: initialization error: "
NO_RUNTIME = (
    "OCI runtime create failed: unable to retrieve OCI runtime error (open /run/x/log.json: no such"
    ' file or directory): exec: "nvidia-container-runtime": executable file not found in $PATH'
)
NODES_FAULT = (
    f"{NVIDIA}driver/library version mismatch: unknown",
    f"{NVIDIA}load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file"
    " or directory: unknown",
    NO_RUNTIME,
    "error executing hook `/usr/bin/nvidia-container-toolkit` (exit code: 1)",
    "failed to start shim: start failed: fork/exec /usr/bin/containerd-shim-runc-v2: permission"
    " denied",
    f"{CREATE}{INIT}error mounting cgroup: no space left on device: unknown",
    'sandbox container "0123" is not running',
    "",
)
TASK = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/worker"
CONTAINER = "/var/lib/containerd/io.containerd.grpc.v1.cri/containers/0123"
FULL_NODE = (
    f'failed to create containerd task: {CREATE}{INIT}error mounting "/var/lib/containerd/x/hosts"'
    f' to rootfs at "/etc/hosts": open {TASK}/rootfs/etc/hosts: no space left on device: unknown',
    f'{CREATE}{INIT}exec: "/usr/bin/python3": stat /usr/bin/python3: input/output error: unknown',
    f'{CREATE}{INIT}chdir to cwd ("/work") set in config.json failed: stale NFS file handle',
    f'failed to update container "0123" state: failed to checkpoint status to "{CONTAINER}/status":'
    f" write {CONTAINER}/.tmp-status859426992: no space left on device",
    "failed to start shim: open /dev/null: too many open files: unknown",
    "failed to start shim: fork/exec /usr/bin/containerd-shim-runc-v2: resource temporarily"
    " unavailable: unknown",
)
COMMANDS_FAULT = (
    'exec: "/no/such": no such file or directory',
    f'{CREATE}{INIT}exec: "trian": executable file not found in $PATH: unknown',
    f'{CREATE}{INIT}exec: "/app/hook.sh": permission denied: unknown',
    f'{CREATE}{INIT}exec: \\"/app/run\\": stat /app/run: no such file or directory',
    f'{CREATE}{INIT}chdir to cwd ("/root") set in config.json failed: permission denied',
    f"{CREATE}{INIT}exec /app/run: exec format error",
    "crun: executable file `trian` not found in $PATH: No such file or directory",
    "failed to generate spec: no command specified",
    "the file trian was not found",
)


@pytest.mark.parametrize("state", ["StartError", "ContainerCannotRun"])
@pytest.mark.parametrize("message", COMMANDS_FAULT)
def test_a_container_whose_command_or_image_can_not_run_is_invalid(state, message):
    never_ran = {"termination_reason": state, "termination_message": message}
    failure = find(ended(0, code=128, **never_ran))
    assert failure.failure_class is FailureClass.INVALID
    assert failure.reason is Reason.CONTAINER_CANNOT_START
    assert message in failure.message


@pytest.mark.parametrize("message", NODES_FAULT + FULL_NODE)
def test_a_container_that_its_node_can_not_start_is_an_interruption(message):
    never_ran = {"termination_reason": "StartError", "termination_message": message}
    failure = find(ended(0, code=128, **never_ran), pod(1))
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert (failure.reason, failure.node) == (Reason.CONTAINER_CANNOT_START, "node-0")
    assert failure.message.startswith("the container of rank 0 can't start on node-0: ")


def test_a_container_that_its_memory_limit_does_not_even_let_start_is_out_of_memory():
    told = f"{CREATE}{INIT}container init was OOM-killed (memory limit too low?): unknown"
    failure = find(ended(0, code=128, termination_reason="StartError", termination_message=told))
    assert failure.failure_class is FailureClass.OUT_OF_MEMORY


def test_a_container_that_can_not_start_since_its_pod_is_asked_to_end_is_not_the_cause():
    never_ran = {"termination_reason": "StartError", "termination_message": "it is gone"}
    late = deleted(ended(1, code=128, seconds=4, **never_ran), 3)
    failure = find(ended(0, seconds=5), late, job=failed_job(2))
    assert (failure.rank, failure.failure_class) == (0, FailureClass.APPLICATION)


def test_an_error_that_the_program_calls_invalid_is_invalid():
    failure = find(ended(0), pod(1), last_words={"pod-uid-1-0": word("no such env", invalid=True)})
    assert failure.failure_class is FailureClass.INVALID
    assert failure.reason is Reason.INVALID_SPEC


def waiting_for(reason, message, seconds, rank=0):
    """What is found of a pod that has waited so long in this state."""
    waiting = pod(
        rank,
        phase="Pending",
        ready=False,
        waiting_reason=reason,
        waiting_message=message,
        started_time=at(-seconds),
    )
    return find(pod(1 - rank), waiting, job=batch_job())


RESOLVE = 'failed to pull and unpack image "x:1": failed to resolve reference "x:1": '
HEAD = "unexpected status from HEAD request to https://x:5000/v2/x/manifests/1: "
BACK_OFF = 'Back-off pulling image "x:1"'
BLOB = "/var/lib/containerd/io.containerd.content.v1.content/ingest/0123/data"


@pytest.mark.parametrize(
    ("reason", "message", "seconds"),
    [
        ("InvalidImageName", "couldn't parse image name", 0),
        ("ImagePullBackOff", f"{BACK_OFF}: ErrImagePull: {RESOLVE}x:1: not found", 60),
        ("ErrImagePull", f"{RESOLVE}pull access denied, repository does not exist", 60),
        ("ErrImagePull", f"{RESOLVE}{HEAD}401 Unauthorized", 60),
        ("ErrImagePull", f"{RESOLVE}{HEAD}403 Forbidden", 60),
        ("ErrImagePull", "reading manifest 1 in x: manifest unknown", 60),
        ("SignatureValidationFailed", "signature validation failed", 60),
        ("ErrImagePull", f"{RESOLVE}failed to do request: dial tcp: lookup x: no such host", 600),
        ("ErrImageNeverPull", 'Container image "x:1" is not present', 600),
    ],
)
def test_an_image_that_can_not_be_had_is_invalid_once_it_had_time_to_appear(
    reason, message, seconds
):
    assert not seconds or isinstance(waiting_for(reason, message, seconds - 1), NotYet)
    failure = waiting_for(reason, message, seconds)
    assert failure.failure_class is FailureClass.INVALID
    assert failure.reason is Reason.IMAGE_PULL_FAILED
    assert message in failure.message


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", f"{RESOLVE}failed to do request: dial tcp 10.0.0.1:443: i/o timeout"),
        ("ErrImagePull", f"{RESOLVE}dial tcp 10.0.0.1:443: connect: connection refused"),
        ("ErrImagePull", f"{RESOLVE}dial tcp 10.0.0.1:443: connect: permission denied"),
        ("ErrImagePull", f"{RESOLVE}{HEAD}503 Service Unavailable"),
        ("ErrImagePull", f"{HEAD}429 Too Many Requests: toomanyrequests: access denied for now"),
        ("ErrImagePull", f"failed to copy: write {BLOB}: no space left on device"),
        ("ErrImagePull", f"mkdir {BLOB}: read-only file system: content digest x: not found"),
        ("ErrImagePull", "mkdir /var/lib/containerd/x: permission denied"),
        ("ErrImagePull", "failed to prepare extraction snapshot: parent does not exist: not found"),
        ("ImagePullBackOff", BACK_OFF),
        ("RegistryUnavailable", "image pull failed for x:1 because the registry is unavailable"),
        ("ImageInspectError", "Failed to inspect image"),
    ],
)
def test_a_registry_that_does_not_answer_is_an_interruption_after_ten_minutes(reason, message):
    assert isinstance(waiting_for(reason, message, 599), NotYet)
    failure = waiting_for(reason, message, 600)
    assert failure.failure_class is FailureClass.INFRASTRUCTURE
    assert (failure.reason, failure.node) == (Reason.IMAGE_PULL_FAILED, "node-0")


def test_a_container_that_is_being_made_is_no_failure_however_long_it_takes():
    assert waiting_for("ContainerCreating", None, 6000) is None


SYNC = "failed to sync secret cache: timed out waiting for the condition"
NO_HOSTS = "write /var/lib/kubelet/pods/0123/etc-hosts: no space left on device"
NO_SNAPSHOT = (
    "failed to create containerd container: failed to create prepare snapshot dir: mkdir"
    " /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/new-1/fs: no space left"
    " on device"
)
SUBPATH = 'failed to prepare subPath for volumeMount "data" of container "worker"'


@pytest.mark.parametrize(
    ("reason", "message", "seconds", "found"),
    [
        ("CreateContainerConfigError", 'secret "token" not found', 60, FailureClass.INVALID),
        ("CreateContainerConfigError", SYNC, 600, FailureClass.INFRASTRUCTURE),
        ("CreateContainerConfigError", NO_HOSTS, 60, FailureClass.INFRASTRUCTURE),
        ("CreateContainerConfigError", SUBPATH, 60, FailureClass.INFRASTRUCTURE),
        ("CreateContainerError", NO_SNAPSHOT, 60, FailureClass.INFRASTRUCTURE),
        ("RunContainerError", FULL_NODE[0], 60, FailureClass.INFRASTRUCTURE),
        ("CreateContainerError", FULL_NODE[1], 60, FailureClass.INFRASTRUCTURE),
        ("CreateContainerError", COMMANDS_FAULT[3], 60, FailureClass.INVALID),
        ("CreateContainerError", NODES_FAULT[3], 60, FailureClass.INFRASTRUCTURE),
        ("RunContainerError", NODES_FAULT[0], 60, FailureClass.INFRASTRUCTURE),
        ("RunContainerError", None, 60, FailureClass.INFRASTRUCTURE),
        ("CreateContainerError", "context deadline exceeded", 600, FailureClass.INFRASTRUCTURE),
        (
            "CreateContainerError",
            'failed to reserve container name "w_0": name "w_0" is reserved for "0123"',
            600,
            FailureClass.INFRASTRUCTURE,
        ),
        ("PreStartHookError", "device plugin", 60, FailureClass.INFRASTRUCTURE),
    ],
)
def test_a_container_that_is_not_started_is_told_by_what_keeps_it(reason, message, seconds, found):
    assert isinstance(waiting_for(reason, message, seconds - 1, rank=1), NotYet)
    failure = waiting_for(reason, message, seconds, rank=1)
    assert (failure.failure_class, failure.reason, failure.node) == (
        found,
        Reason.CONTAINER_CANNOT_START,
        "node-1",
    )
    assert one_line(message or reason, 1000) in failure.message


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


@pytest.mark.parametrize("started", [at(-60), None])
def test_pods_of_a_suspension_are_not_lost_while_the_job_controller_has_not_gone_on(started):
    resumed = batch_job(suspended_time=NOW, started_time=started)
    assert find(deleted(pod(0), 0), pod(1), job=resumed) is None
    assert find(deleted(pod(0), 0), pod(1), job=batch_job()).reason is Reason.POD_DELETED


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


def missed(rank, silent):
    """The last word of a process that heard nothing of another any more."""
    return word(
        f"rank {silent} has given no sign of life", rank=rank, secondary=True, silent=silent
    )


MISSES_1 = {"pod-uid-1-0": missed(0, 1)}


@pytest.mark.parametrize("asked", [2, 3])
def test_a_process_that_stands_still_until_it_is_killed_has_stalled(asked):
    stopped = deleted(ended(1, code=137, seconds=asked + 30), asked)
    failure = find(ended(0, seconds=2), stopped, job=failed_job(2), last_words=MISSES_1)
    assert failure == Failure(
        FailureClass.STALLED,
        Reason.NO_PROGRESS,
        "rank 0 on node-0 lost rank 1 on node-1: rank 1 has given no sign of life",
        rank=1,
        node="node-1",
    )


@pytest.mark.parametrize("asked", [2, 3])
def test_a_silent_process_whose_pod_nothing_ends_was_on_a_node_that_is_lost(asked):
    """Its Job is not said to have failed before the node is back."""
    found = {
        seconds: find(
            ended(0, seconds=2),
            deleted(pod(1), asked),
            job=batch_job(failing_time=at(2)),
            now=at(asked + seconds),
            last_words=MISSES_1,
        )
        for seconds in (59, 60)
    }
    assert isinstance(found[59], NotYet)
    assert found[60] == Failure(
        FailureClass.INFRASTRUCTURE,
        Reason.NODE_LOST,
        "rank 0 on node-0 lost rank 1 on node-1, where nothing ends the pod:"
        " rank 1 has given no sign of life",
        rank=1,
        node="node-1",
    )


@pytest.mark.parametrize(("seconds", "reason"), [(4, "NETWORK_LOST"), (11, "NO_PROGRESS")])
def test_two_that_ran_and_heard_nothing_of_each_other_at_a_time_lost_the_network(seconds, reason):
    failure = find(
        ended(0, seconds=2),
        deleted(ended(1, seconds=seconds), 2),
        job=failed_job(2),
        last_words={**MISSES_1, "pod-uid-1-1": missed(1, 0)},
    )
    assert failure.reason is Reason[reason]
    if reason == "NETWORK_LOST":
        assert failure.failure_class is FailureClass.INFRASTRUCTURE
        assert (failure.rank, failure.node) == (None, None)
        assert "which ran and heard nothing either" in failure.message


def test_a_silent_process_that_was_about_to_be_killed_at_its_memory_limit_ran_out_of_memory():
    thrashing = deleted(ended(1, code=137, seconds=9, termination_reason="OOMKilled"), 3)
    failure = find(ended(0, seconds=2), thrashing, job=failed_job(2), last_words=MISSES_1)
    assert failure.failure_class is FailureClass.OUT_OF_MEMORY
    assert failure.rank == 1


def test_a_silent_process_whose_node_is_said_to_be_lost_is_told_by_that():
    gone = deleted(pod(1, disruption="DeletionByTaintManager"), 3)
    failure = find(
        ended(0, seconds=2), gone, job=batch_job(failing_time=at(2)), now=at(99),
        last_words=MISSES_1,
    )  # fmt: skip
    assert failure.reason is Reason.NODE_LOST
    assert "its node is unhealthy" in failure.message


def test_what_a_process_dies_of_goes_before_whom_it_missed():
    failure = find(
        ended(0, seconds=2),
        ended(1, code=9, seconds=2),
        job=failed_job(2),
        last_words=MISSES_1,
    )
    assert (failure.rank, failure.exit_code) == (1, 9)
    assert failure.failure_class is FailureClass.APPLICATION


def test_a_process_that_ended_well_before_the_others_were_done_is_the_programs_fault():
    failure = find(ended(0, seconds=9), ended(1, code=0), job=failed_job(9), last_words=MISSES_1)
    assert failure.failure_class is FailureClass.APPLICATION


def test_a_silent_process_in_the_same_pod_has_stalled_too():
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 4}}, "workers": 1}
    failure = find(ended(0), job=failed_job(0), spec=gpus, last_words={"pod-uid-1-0": missed(2, 3)})
    assert (failure.failure_class, failure.rank) == (FailureClass.STALLED, 3)
    assert failure.message.startswith("rank 2 on node-0 lost rank 3 on node-0: ")


def test_a_rank_that_there_is_not_is_no_silence():
    failure = find(ended(0), pod(1), last_words={"pod-uid-1-0": missed(0, 7)})
    assert failure.failure_class is FailureClass.APPLICATION


def test_a_stopped_process_is_a_stall_and_a_node_that_is_lost_an_interruption():
    job = training_job(running(), workers=2, failurePolicy={"maxRestarts": 3})
    first = ended(0, seconds=2)
    for second, batch, now, costs in (
        (deleted(ended(1, code=137, seconds=32), 2), failed_job(2), 40, (1, 0)),
        (deleted(pod(1), 2), batch_job(failing_time=at(2)), 90, (1, 1)),
    ):
        plan = plan_for(job, at(now), jobs=(batch,), pods=(first, second), last_words=MISSES_1)
        assert (plan.status.restarts, plan.status.interruptions) == costs
        assert is_true(plan, ConditionType.STALLED) is (costs == (1, 0))
