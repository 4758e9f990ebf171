"""Conditions, which keep their time of transition while they stay, and the phase made of them."""

from datetime import datetime

from lepton_operator.api.names import ConditionType, Phase, Reason
from lepton_operator.api.status import Condition, LeptonTrainingJobStatus
from lepton_operator.reconcile.text import one_line

WAS_READY = frozenset({Reason.ALL_PODS_READY, Reason.PODS_NOT_READY})
"""Reasons of PodsReady that tell that all workers of this attempt were ready once."""
EXISTED = WAS_READY | {Reason.PODS_PENDING, Reason.QUEUED}
"""Reasons of PodsReady that tell that the attempt's Job was there."""


def with_condition(
    status: LeptonTrainingJobStatus,
    kind: ConditionType,
    value: bool,
    reason: Reason,
    message: str,
    now: datetime,
) -> LeptonTrainingJobStatus:
    """The status with this condition set, others and their order kept."""
    told = "True" if value else "False"
    known = status.condition(kind)
    condition = Condition(
        type=str(kind),
        status="True" if value else "False",
        reason=str(reason),
        message=one_line(message, 1024),
        last_transition_time=known.last_transition_time
        if known is not None and known.status == told
        else now,
        observed_generation=status.observed_generation,
    )
    if known is None:
        conditions = [*status.conditions, condition]
    else:
        conditions = [condition if c.type == kind else c for c in status.conditions]
    return status.model_copy(update={"conditions": conditions})


def without_detours(
    old: LeptonTrainingJobStatus, new: LeptonTrainingJobStatus
) -> LeptonTrainingJobStatus:
    """The new status, in which a condition that went there and back in one pass has not moved."""
    before = {condition.type: condition for condition in old.conditions}
    conditions = [
        condition.model_copy(update={"last_transition_time": known.last_transition_time})
        if (known := before.get(condition.type)) is not None and known.status == condition.status
        else condition
        for condition in new.conditions
    ]
    return new.model_copy(update={"conditions": conditions})


def ready_reason(status: LeptonTrainingJobStatus) -> str | None:
    """Reason of PodsReady, which tells how far the attempt has come."""
    ready = status.condition(ConditionType.PODS_READY)
    return ready.reason if ready is not None else None


def with_phase(status: LeptonTrainingJobStatus) -> LeptonTrainingJobStatus:
    """The status with its phase and reason, which say in a word what the conditions say."""
    phase, reason = _phase(status)
    return status.model_copy(update={"phase": phase, "reason": reason})


def _phase(status: LeptonTrainingJobStatus) -> tuple[Phase, str | None]:
    for kind, phase in (
        (ConditionType.COMPLETE, Phase.COMPLETE),
        (ConditionType.FAILED, Phase.FAILED),
        (ConditionType.SUSPENDED, Phase.SUSPENDED),
    ):
        condition = status.condition(kind)
        if condition is not None and condition.status == "True":
            return phase, condition.reason
    reason = ready_reason(status)
    if reason in WAS_READY:
        return Phase.RUNNING, reason
    return (Phase.RESTARTING if status.attempt > 1 else Phase.PENDING), reason
