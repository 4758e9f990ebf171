"""Whether an attempt has failed, in which class, and why: one line from all the evidence."""

import signal
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from lepton.spec.report import LastWord
from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.reconcile import evidence, gangs
from lepton_operator.reconcile.manifests import processes_per_worker
from lepton_operator.reconcile.observed import JobView, PodView
from lepton_operator.reconcile.silence import is_mutual
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.text import exit_text, one_line, plural
from lepton_operator.reconcile.tracebacks import LOST_PEER, Raised, last_line, last_traceback_line

SETTLE = timedelta(seconds=10)
"""After the first failure, time for what caused it to show: a process that raises may outlive
the peers that lost their connection to it."""
LATEST_EVIDENCE = timedelta(minutes=2)
"""For how long after a Job's end its pods may be seen to run, while their watch has a gap."""
MESSAGE_LIMIT = 1000
STOPPED = frozenset({None, 0, 128 + signal.SIGKILL, 128 + signal.SIGTERM})
"""Exit codes of a container that is asked to end; None while it has not."""


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed."""

    failure_class: FailureClass
    reason: Reason
    message: str
    rank: int | None = None
    exit_code: int | None = None
    node: str | None = None


@dataclass(frozen=True)
class NotYet:
    """Something is wrong, but the evidence may not be complete."""

    look_again_in: timedelta


class Kind(IntEnum):
    """Which of two causes at the same second is told: the lower one."""

    OWN = 0
    """The program ended by itself."""
    TAKEN = 1
    """Somebody or something took the pod away."""
    SECONDARY = 2
    """A peer's end caused it, or our own request to end."""


@dataclass(frozen=True)
class Cause:
    """One pod's part in a failure."""

    kind: Kind
    time: datetime | None
    rank: int
    failure: Failure

    @property
    def order(self) -> tuple[bool, bool, datetime | int, Kind, int]:
        """What comes first caused the others; what is secondary never does."""
        unknown = self.time is None
        when = 0 if self.time is None else self.time
        return self.kind is Kind.SECONDARY, unknown, when, self.kind, self.rank


def find_failure(situation: Situation) -> Failure | NotYet | None:
    """Why the current attempt failed, if it has."""
    current = situation.current_job
    if current is None or current.complete:
        return None
    # The Job controller has not gone on with a resumed Job while it says that it is suspended.
    resumes = current.suspended_time is not None
    suspending = current.suspended or resumes or situation.spec.suspend
    if suspending and not current.failing:
        return None  # Pods that are asked to end exit as they like.
    cannot_start = find_start_failure(situation)
    if isinstance(cannot_start, Failure):
        return cannot_start
    found = (cause_of(pod, current, situation) for pod in situation.witnesses)
    causes = [cause for cause in found if cause is not None]
    if not causes and not current.failing:
        return cannot_start
    if not causes and _pods_lag_behind(current, situation):
        return NotYet(SETTLE)
    wait = not_settled(causes, current, situation)
    if wait is not None:
        return wait
    return explain(causes, current, situation)


def explain(causes: list[Cause], current: JobView, situation: Situation) -> Failure:
    """The first cause; when only consequences are visible, what is missing is the cause."""
    first = min(causes, key=lambda cause: cause.order, default=None)
    if first is not None and first.kind is not Kind.SECONDARY:
        return first.failure
    seen = {pod.rank for pod in situation.witnesses}
    # Not spec.workers, which may have changed since.
    missing = [rank for rank in range(current.workers) if rank not in seen]
    if missing:
        text = f"the pod of rank {missing[0]} is gone"
        if len(missing) > 1:
            text = f"{len(missing)} of {plural(current.workers, 'pod')} are gone"
        rank = missing[0] if len(missing) == 1 else None
        return Failure(FailureClass.INFRASTRUCTURE, Reason.POD_DELETED, text, rank=rank)
    fell_silent = _fell_silent(situation)
    if fell_silent is not None:
        return fell_silent
    if first is not None:
        return first.failure
    told = one_line(current.failed_message or current.failed_reason or "it gives no reason", 500)
    return Failure(
        FailureClass.APPLICATION, Reason.JOB_FAILED, f"Job {current.name} failed: {told}"
    )


def _fell_silent(situation: Situation) -> Failure | None:
    """What became of a process that its peers missed; None if they missed none, or it ended well.

    Its pod's end, if any, was asked for when they had ended, and tells nothing of the cause, but
    for what the kernel and the node did to it. Where both ran and heard nothing, the network
    between them is to blame. Else it did not get on.
    """
    if not situation.silences:
        return None
    first = situation.silences[0]
    pod, mutual = first.pod, is_mutual(first, situation.silences)
    if pod.exit_code == 0 and pod.delete_requested_time is None:
        return None
    if pod.termination_reason == "OOMKilled":
        return _own_end(pod, situation).failure
    interruption = _interruption(pod)
    if interruption is not None:
        return interruption
    what = f"rank {first.noticed_by}{_place(first.witness)} lost rank {first.rank}{_place(pod)}"
    failure_class, reason = FailureClass.STALLED, Reason.NO_PROGRESS
    if mutual:
        failure_class, reason = FailureClass.INFRASTRUCTURE, Reason.NETWORK_LOST
        what = f"{what}, which ran and heard nothing either"
    elif situation.is_lost(pod):
        failure_class, reason = FailureClass.INFRASTRUCTURE, Reason.NODE_LOST
        what = f"{what}, where nothing ends the pod"
    return Failure(
        failure_class,
        reason,
        one_line(f"{what}: {first.text}", MESSAGE_LIMIT),
        # Of two that don't hear each other nobody knows which node is cut off.
        rank=None if mutual else first.rank,
        node=None if mutual else pod.node,
    )


def not_settled(causes: list[Cause], current: JobView, situation: Situation) -> NotYet | None:
    """How long to wait for more evidence; None when it is all there.

    A pod that was taken away before anything failed explains all that follows, and soon nothing
    of it may be left to see. A program's own error may have another's behind it. Where a queue
    decides when the Job runs, pods that are taken away may only be news sooner than that it was
    sent back.
    """
    held = gangs.holds(situation.spec)
    if current.failed or (not held and _taken_before_anything_failed(causes)):
        return None
    if _only_lost_pods_are_left(situation):
        return None
    kinds = {Kind.OWN, Kind.TAKEN} if held else {Kind.OWN}
    ends = [c.time + SETTLE for c in causes if c.kind in kinds and c.time is not None]
    if not ends:
        return NotYet(SETTLE)
    left = min(ends) - situation.now
    return NotYet(left) if left > timedelta(0) else None


def _pods_lag_behind(current: JobView, situation: Situation) -> bool:
    """Whether the Job is seen to have failed, and pods of it to run, which can't be: all of them
    had ended before it was said to have failed (KEP-3939). Then how they ended is still to come,
    and a guess might be charged to the program."""
    if not current.failed or current.finished_time is None:
        return False
    runs = any(not situation.is_over(pod) for pod in situation.pods)
    return runs and situation.now < current.finished_time + LATEST_EVIDENCE


def _only_lost_pods_are_left(situation: Situation) -> bool:
    """Whether a node that does not answer keeps the Job from being said to have failed: that takes
    until the node is back, or removed from the cluster."""
    lost = any(situation.is_lost(pod) for pod in situation.pods)
    return lost and all(situation.is_over(pod) for pod in situation.pods)


def _taken_before_anything_failed(causes: list[Cause]) -> bool:
    taken = [c.time for c in causes if c.kind is Kind.TAKEN and c.time is not None]
    failed = [c.time for c in causes if c.kind is not Kind.TAKEN]
    return bool(taken) and all(time is not None and min(taken) < time for time in failed)


def cause_of(pod: PodView, current: JobView, situation: Situation) -> Cause | None:
    """What this pod tells about the failure; None for one that runs or ended well."""
    rank = pod.rank or 0
    asked, ended = pod.delete_requested_time, pod.finished_time
    if _left_from_suspension(pod, current):
        return None
    failing = current.failing_time
    done = pod.exit_code == 0 and ended == asked
    ended_before = asked is not None and ended is not None and (ended < asked or done)
    if asked is not None and not ended_before:
        # A silence takes seconds to be noticed: what is asked for in that second is no cause.
        if failing is not None and (asked > failing or (situation.silences and asked == failing)):
            # The Job controller ends what is left of a Job that fails.
            return None if pod.exit_code is None else _own_end(pod, situation, asked_to_end=True)
        if failing == asked == ended and pod.exit_code not in STOPPED:
            # The API tells whole seconds: it ended first, and its Job was ended for its peers.
            return _own_end(pod, situation)
        interruption = _interruption(pod) or Failure(
            FailureClass.INFRASTRUCTURE,
            Reason.POD_DELETED,
            f"the pod of rank {rank}{_place(pod)} was deleted",
            rank=rank,
            node=pod.node,
        )
        return Cause(Kind.TAKEN, asked, rank, interruption)
    if pod.phase != "Failed" and not pod.exit_code:
        return None
    interruption_ = _interruption(pod)
    if interruption_ is not None:
        if ended is None and evidence.is_refusal(pod):
            ended = pod.started_time  # The kubelet takes a pod on and refuses it at once.
        return Cause(Kind.TAKEN, ended, rank, interruption_)
    return _own_end(pod, situation)


def _left_from_suspension(pod: PodView, current: JobView) -> bool:
    """Whether it still ends from when the Job was suspended, which has been started again since.

    The API tells whole seconds: a pod of the new start may be deleted in the second of that start.
    """
    asked, created, started = pod.delete_requested_time, pod.created_time, current.started_time
    if asked is None or created is None or started is None:
        return False
    return created < started and asked <= started


def _interruption(pod: PodView) -> Failure | None:
    known = evidence.taken_away(pod)
    if known is None:
        return None
    reason, what = known
    text = f"the pod of rank {pod.rank or 0}{_place(pod)} {what}"
    if pod.message:
        text = f"{text}: {pod.message.removeprefix('Pod was rejected: ')}"
    return Failure(
        FailureClass.INFRASTRUCTURE,
        reason,
        one_line(text, MESSAGE_LIMIT),
        rank=pod.rank,
        exit_code=pod.exit_code,
        node=pod.node,
    )


def _own_end(pod: PodView, situation: Situation, *, asked_to_end: bool = False) -> Cause:
    """The pod's container ended by itself, or because its peers did."""
    rank = pod.rank or 0
    failure_class, reason = FailureClass.APPLICATION, Reason.ERROR
    kind = Kind.SECONDARY if asked_to_end else Kind.OWN
    raised = raised_in(pod, situation)
    word = situation.observed.last_words.get(pod.uid)
    code = pod.exit_code
    peers = situation.spec.workers > 1
    obstacle = evidence.obstacle(pod.termination_reason, pod.termination_message)
    if obstacle is not None:
        told = one_line(pod.termination_message or "it gives no reason", MESSAGE_LIMIT - 200)
        text = f"the container of rank {rank} can't start{_place(pod)}: {told}"
        failure_class, reason = obstacle.failure_class, obstacle.reason
        failure = Failure(failure_class, reason, text, rank, code, pod.node)
        return Cause(kind, pod.finished_time, rank, failure)
    if pod.termination_reason == "OOMKilled":
        failure_class, reason = FailureClass.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY
        how = "ran out of memory"
        raised = None
    else:
        if word is not None and word.error is not None and word.error.invalid:
            failure_class, reason = FailureClass.INVALID, Reason.INVALID_SPEC
        elif (peers or _names_a_silent_peer(word)) and (
            (word is not None and word.error is not None and word.error.secondary)
            or (raised is not None and raised.secondary)
        ):
            kind = Kind.SECONDARY
        if raised is not None and raised.exit_code is not None:
            code = raised.exit_code if raised.exit_code >= 0 else 128 - raised.exit_code
        how = exit_text(code) if code is not None else "failed"
    told_rank = raised.rank if raised is not None and raised.rank is not None else rank
    text = f"rank {told_rank} {how}{_place(pod)}"
    if raised is not None and raised.line:
        text = f"{text}: {raised}"
    return Cause(
        kind,
        pod.finished_time,
        rank,
        Failure(failure_class, reason, one_line(text, MESSAGE_LIMIT), told_rank, code, pod.node),
    )


def _names_a_silent_peer(word: LastWord | None) -> bool:
    """Whether the program heard nothing of another process, which may be one of the same pod."""
    return word is not None and word.error is not None and word.error.silent is not None


def raised_in(pod: PodView, situation: Situation) -> Raised | None:
    """What the pod's program died of: by its last word, else by the end of its log."""
    word = situation.observed.last_words.get(pod.uid)
    if word is not None and word.error is not None:
        many = processes_per_worker(situation.spec) > 1
        return Raised(word.error.line, word.error.where, rank=word.rank if many else pod.rank)
    for text in (situation.observed.log_tails.get(pod.uid), pod.termination_message):
        if not text or (word is not None and text == pod.termination_message):
            continue
        found = last_traceback_line(text)
        if found is not None:
            return found
        line = last_line(text)
        if line is not None:
            lost = LOST_PEER.search(text)
            return Raised(line if lost is None or LOST_PEER.search(line) else f"{line} ({lost[0]})")
    return None


def find_start_failure(situation: Situation) -> Failure | NotYet | None:
    """Whether a container does not start, and has had its time."""
    waits = []
    for pod in sorted(situation.pods, key=lambda pod: pod.rank or 0):
        known = _start_failure(pod)
        if known is None:
            continue
        failure, grace = known
        left = (pod.started_time or situation.now) + grace - situation.now
        if left <= timedelta(0):
            return failure
        waits.append(left)
    return NotYet(min(waits)) if waits else None


def _start_failure(pod: PodView) -> tuple[Failure, timedelta] | None:
    obstacle = evidence.obstacle(pod.waiting_reason, pod.waiting_message)
    if obstacle is None:
        return None
    what = (
        "pull its image" if obstacle.reason is Reason.IMAGE_PULL_FAILED else "start its container"
    )
    told = pod.waiting_message or pod.waiting_reason
    text = f"the pod of rank {pod.rank or 0} can't {what}{_place(pod)}: {told}"
    failure = Failure(
        obstacle.failure_class,
        obstacle.reason,
        one_line(text, MESSAGE_LIMIT),
        rank=pod.rank,
        node=pod.node,
    )
    return failure, obstacle.grace


def job_deleted(attempt: int) -> Failure:
    """Somebody deleted the batch Job of a running attempt."""
    return Failure(
        FailureClass.INFRASTRUCTURE,
        Reason.JOB_DELETED,
        f"the batch Job of attempt {attempt} was deleted",
    )


def _place(pod: PodView) -> str:
    return f" on {pod.node}" if pod.node else ""
