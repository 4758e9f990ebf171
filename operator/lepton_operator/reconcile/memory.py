"""growMemoryBy: more memory for the attempt that follows one that ran out of it."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any

from lepton_operator.api.names import Reason
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.observed import MemoryLimits
from lepton_operator.reconcile.plan import EventNote
from lepton_operator.reconcile.quantities import in_mebibytes, memory_text, quantity


def has_grown(status: LeptonTrainingJobStatus) -> bool:
    """Whether workers get more memory than the spec says."""
    return status.memory is not None


def with_growth(
    status: LeptonTrainingJobStatus, spec: LeptonTrainingJobSpec
) -> LeptonTrainingJobStatus:
    """The status with the memory of the next attempt, after one that ran out of it."""
    by, limit = spec.failure_policy.grow_memory_by, _limit(spec)
    if by is None or limit is None:
        return status
    now = quantity(status.memory) if status.memory is not None else limit
    more = now * Decimal(by[:-1]) / 100 if by.endswith("%") else quantity(by)
    return status.model_copy(update={"memory": memory_text(in_mebibytes(now + more, ROUND_UP))})


def within_limits(
    status: LeptonTrainingJobStatus, spec: LeptonTrainingJobSpec, limits: MemoryLimits | None
) -> tuple[LeptonTrainingJobStatus, tuple[EventNote, ...]]:
    """The status with no more memory than the namespace allows, but at least what the spec says;
    and what to tell when that is less than was wanted. Asked again it changes nothing."""
    wanted, limit = status.memory, _limit(spec)
    if wanted is None or limit is None or limits is None:
        return status, ()
    allowed = _allowed(spec, limit, limits)
    if allowed is None or quantity(wanted) <= allowed:
        return status, ()
    memory = memory_text(in_mebibytes(allowed, ROUND_DOWN)) if allowed > limit else None
    given = memory or spec.resources.limits["memory"]
    note = EventNote(
        "Warning",
        Reason.MEMORY_LIMITED,
        f"each worker gets {given} of memory instead of {wanted}:"
        " LimitRanges and ResourceQuotas of the namespace allow no more",
    )
    return status.model_copy(update={"memory": memory}), (note,)


def resources(spec: LeptonTrainingJobSpec, status: LeptonTrainingJobStatus) -> dict[str, Any]:
    """The container's resources. Requests grow in proportion, so that the quality of service and
    a LimitRange's maxLimitRequestRatio stay."""
    requests, limits = dict(spec.resources.requests), dict(spec.resources.limits)
    limit = _limit(spec)
    if status.memory is not None and limit:
        limits["memory"] = status.memory
        if "memory" in requests:
            share = quantity(requests["memory"]) / limit
            requests["memory"] = memory_text(quantity(status.memory) * share)
    return {kind: found for kind, found in (("requests", requests), ("limits", limits)) if found}


def _limit(spec: LeptonTrainingJobSpec) -> Decimal | None:
    text = spec.resources.limits.get("memory")
    return quantity(text) if text is not None else None


def _allowed(spec: LeptonTrainingJobSpec, limit: Decimal, limits: MemoryLimits) -> Decimal | None:
    """Bytes that a worker's limit may have; None for any."""
    request = spec.resources.requests.get("memory")
    share = quantity(request) / limit if request is not None and limit else Decimal(1)
    found = [limits.per_worker]
    if limits.left is not None:
        found.append(limits.left / spec.workers)
    if limits.requests_left is not None and share:
        found.append(limits.requests_left / spec.workers / share)
    return min((amount for amount in found if amount is not None), default=None)
