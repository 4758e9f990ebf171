"""`status.workers` and the condition PodsReady: what the pods of the current attempt do."""

from datetime import timedelta

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus, WorkersStatus
from lepton_operator.reconcile.conditions import WAS_READY, ready_reason, with_condition
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import one_line, plural
from lepton_operator.reconcile.unschedulable import in_plain_words, tells_of_nodes

END_TOGETHER = timedelta(seconds=10)
"""When one worker has ended well, the others are about to: all of it is told with the end of the
job, unless they take longer than this."""


def workers_status(situation: Situation) -> WorkersStatus:
    """Pods by state. A worker is counted once, whatever was replaced."""
    pods, total = situation.pods, situation.spec.workers
    ready = sum(is_ready(pod) for pod in pods)
    succeeded = sum(pod.phase == "Succeeded" for pod in pods)
    current = situation.current_job
    if current is not None and current.complete:
        ready, succeeded = 0, total
    return WorkersStatus(
        ready=ready,
        active=sum(not pod.finished for pod in pods),
        succeeded=succeeded,
        failed=sum(pod.phase == "Failed" for pod in pods),
        total=total,
        summary=f"{min(total, ready + succeeded)}/{total}",
    )


def is_ready(pod: PodView) -> bool:
    """Whether the worker trains."""
    return pod.ready and not pod.finished and not pod.deleting


def with_workers(status: LeptonTrainingJobStatus, situation: Situation) -> LeptonTrainingJobStatus:
    """The status with the workers' state and PodsReady."""
    if status.workers is not None and time_to_end_together(situation) is not None:
        return status
    workers = workers_status(situation)
    status = status.model_copy(update={"workers": workers})
    total = workers.total
    was_ready = ready_reason(status) in WAS_READY
    # A worker that is done was ready: its end is no step back.
    if workers.ready + workers.succeeded >= total:
        reason, message = Reason.ALL_PODS_READY, f"{plural(total, 'worker')} ready"
        return with_condition(
            status, ConditionType.PODS_READY, True, reason, message, situation.now
        )
    if was_ready:
        reason = Reason.PODS_NOT_READY
    else:
        reason = Reason.RESTARTING if status.attempt > 1 else Reason.PODS_PENDING
    message = f"{workers.ready + workers.succeeded} of {plural(total, 'worker')} ready"
    obstacle = first_obstacle(situation)
    if obstacle:
        message = f"{message}; {obstacle}"
    return with_condition(status, ConditionType.PODS_READY, False, reason, message, situation.now)


def time_to_end_together(situation: Situation) -> timedelta | None:
    """For how long still what the workers' ends would change in the status is not told; None when
    they are not about to end well, or have had their time."""
    current = situation.current_job
    if current is None or current.over:
        return None
    pods = situation.pods
    ends = [pod.finished_time for pod in pods if pod.phase == "Succeeded" and pod.finished_time]
    if not ends or not all(is_ready(pod) or pod.phase == "Succeeded" for pod in pods):
        return None
    left = max(ends) + END_TOGETHER - situation.now
    return left if left > timedelta(0) else None


def come_up(status: LeptonTrainingJobStatus, situation: Situation) -> bool:
    """Whether workers start, and nothing is known to be in their way."""
    starts = ready_reason(status) in (Reason.PODS_PENDING, Reason.RESTARTING)
    there = situation.current_job is not None
    return starts and there and first_obstacle(situation) is None


def first_obstacle(situation: Situation, *, quick: bool = True) -> str | None:
    """Why the first worker that is not ready is not, where Kubernetes tells. With `quick`, what
    every pod goes through on its way is none."""
    current, group = situation.current_job, situation.current_group
    if current is None:
        return situation.observed.refused_for_now
    if group is not None and group.waits_for and not any(pod.node for pod in situation.pods):
        # The group's own message counts pods; that of a pod says what no node has.
        of_pods = [p.unschedulable for p in situation.pods if p.unschedulable]
        why = in_plain_words(next(filter(tells_of_nodes, of_pods), group.waits_for))
        return one_line(f"the workers can't be placed together: {why}", 500)
    for pod in sorted(situation.pods, key=lambda pod: pod.rank or 0):
        if is_ready(pod) or pod.finished:
            continue
        rank = pod.rank or 0
        if pod.unschedulable:
            why = in_plain_words(pod.unschedulable)
            return one_line(f"rank {rank} can't be placed: {why}", 500)
        waiting = pod.waiting_reason
        if waiting and not (quick and waiting == "ContainerCreating"):
            told = f": {pod.waiting_message}" if pod.waiting_message else ""
            return one_line(f"rank {rank} waits{_place(pod)}: {waiting}{told}", 500)
        if not quick and pod.phase == "Pending":
            what = "its container to start" if pod.node else "a node"
            return f"rank {rank} waits for {what}{_place(pod)}"
    seen = {pod.rank for pod in situation.pods}
    missing = [rank for rank in range(situation.spec.workers) if rank not in seen]
    if quick or not missing:
        return None
    return (
        f"there is no pod of rank {missing[0]}; a quota or an admission rule may forbid it:"
        f" see the events of Job {current.name}"
    )


def _place(pod: PodView) -> str:
    return f" on {pod.node}" if pod.node else ""
