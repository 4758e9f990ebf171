"""`status.placement`: where workers ran, and the nodes that an attempt keeps away from."""

from datetime import timedelta

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.status import (
    MAX_NODES_LISTED,
    LeptonTrainingJobStatus,
    PlacementStatus,
)
from lepton_operator.reconcile import manifests, nodes
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.situation import Situation

CLOCKS_DIFFER = timedelta(seconds=5)
"""By how much more than the API server's clock ours may say, which gives the job its startTime."""


def is_due(
    old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus, situation: Situation
) -> bool:
    """Whether it is time to note where workers run: once all do; and for those that ran without
    the others, at an attempt's end, and while pods are about to go since the job is suspended,
    sent back to its queue, or without its Job."""
    ready, finished = ConditionType.PODS_READY, ConditionType.FINISHED
    return (
        (new.is_true(ready) and not old.is_true(ready))
        or (new.is_true(finished) and not old.is_true(finished))
        or new.attempt > old.attempt
        or (_are_to_go(situation) and len(_noted(old)) < MAX_NODES_LISTED)
    )


def _are_to_go(situation: Situation) -> bool:
    """Whether pods that run now are not to run on, though their attempt does."""
    current = situation.current_job
    return situation.spec.suspend or current is None or current.suspended


def unknown_nodes(situation: Situation) -> frozenset[str]:
    """Nodes whose regions have to be looked up first. Only jobs that say where they may run need
    to show it."""
    scheduling = situation.spec.scheduling
    if not (scheduling.regions or scheduling.zones):
        return frozenset()
    known = situation.observed.regions.keys()
    return frozenset(_nodes(situation) - _noted(situation.status) - known)


def with_nodes(status: LeptonTrainingJobStatus, situation: Situation) -> LeptonTrainingJobStatus:
    """The status with the nodes on which workers run, and their regions where they are known."""
    before = status.placement or PlacementStatus()
    found = _nodes(situation)
    told = sorted({*(before.nodes or ()), *found})[:MAX_NODES_LISTED]
    known = {region for node in found if (region := situation.observed.regions.get(node))}
    regions = sorted({*(before.regions or ()), *known})
    return _with(status, nodes=told or None, regions=regions or None)


def _noted(status: LeptonTrainingJobStatus) -> set[str]:
    return set((status.placement.nodes if status.placement is not None else None) or ())


def _nodes(situation: Situation) -> set[str]:
    """Nodes on which a worker of the current attempt runs or ran."""
    return {
        pod.node
        for pod in situation.observed.pods
        if pod.node is not None and pod.phase != "Pending" and _is_of_attempt(pod, situation)
    }


def _is_of_attempt(pod: PodView, situation: Situation) -> bool:
    """Whether the current attempt's Job made the pod, even if the Job is gone. An earlier job of
    this name may have had a Job of this name, and may have left pods that have ended."""
    began, status = pod.created_time, situation.status
    if pod.made_by != manifests.job_name(situation.job, status.attempt):
        return False
    if began is None or status.start_time is None:
        return False
    return began + CLOCKS_DIFFER >= status.start_time


def suspects(situation: Situation) -> tuple[str, ...]:
    """Nodes that the next attempt would rather keep away from."""
    if not situation.spec.failure_policy.avoid_failed_nodes:
        return ()
    return nodes.suspects(situation.status)


def with_avoided(
    status: LeptonTrainingJobStatus, situation: Situation, suspected: tuple[str, ...]
) -> tuple[LeptonTrainingJobStatus, tuple[EventNote, ...]]:
    """The status with the nodes that the attempt keeps away from, and what to tell of a change.

    What the nodes are is looked up when there are suspects; without it none is avoided, since
    nobody knows what would be left.
    """
    before = status.placement.avoided if status.placement is not None else None
    found: tuple[str, ...] = ()
    if suspected and situation.observed.nodes is not None:
        job = situation.with_status(_with(status, avoided=None)).job
        batch = manifests.batch_job(job, situation.spec, status.attempt, situation.settings)
        pod = batch["spec"]["template"]["spec"]
        workers = situation.spec.workers
        found = nodes.avoided(suspected, situation.observed.nodes, pod, workers)
    if list(found) == (before or []):
        return status, ()
    status = _with(status, avoided=list(found) or None)
    if not found:
        return status, ()
    text = f"attempt {status.attempt} keeps away from {', '.join(found)}, where attempts died"
    return status, (EventNote("Normal", Reason.AVOIDING_NODES, text),)


def _with(status: LeptonTrainingJobStatus, **changes: list[str] | None) -> LeptonTrainingJobStatus:
    """The status with these fields of its placement; without one when there is none to tell."""
    placement = (status.placement or PlacementStatus()).model_copy(update=changes)
    told = placement if placement != PlacementStatus() else None
    return status.model_copy(update={"placement": told})
