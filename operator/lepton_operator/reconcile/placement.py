"""`status.placement`: the nodes that an attempt keeps away from."""

from lepton_operator.api.names import Reason
from lepton_operator.api.status import LeptonTrainingJobStatus, PlacementStatus
from lepton_operator.reconcile import manifests, nodes
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.situation import Situation


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
        found = nodes.avoided(suspected, situation.observed.nodes, pod)
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
