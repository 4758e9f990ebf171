"""Nodes on which attempts died, and which of them the next attempt keeps away from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.observed import NodeView, Taint
from lepton_operator.reconcile.quantities import quantity
from lepton_operator.reconcile.scheduling import REQUIRED

SUSPECT_AFTER = 2
"""Attempts that died on a node before it is suspect: one may be bad luck."""


def suspects(status: LeptonTrainingJobStatus) -> tuple[str, ...]:
    """Nodes that took part in the end of two attempts, the worst and latest first.

    Preemption is no mark of a node: there the scheduler needed its room.
    """
    deaths: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for attempt in status.attempts:
        if (
            attempt.failure_class is FailureClass.INFRASTRUCTURE
            and attempt.node is not None
            and attempt.reason != Reason.PREEMPTED
        ):
            deaths[attempt.node] += 1
            latest[attempt.node] = attempt.number
    found = [node for node, times in deaths.items() if times >= SUSPECT_AFTER]
    return tuple(sorted(found, key=lambda node: (-deaths[node], -latest[node])))


def avoided(
    suspected: Iterable[str], nodes: Iterable[NodeView], pod: Mapping[str, Any], workers: int
) -> tuple[str, ...]:
    """Which suspects to keep away from: of the nodes that would take the pod at most half, and
    only while what is left has room for all workers.

    A suspect that would not take it now may do so in a minute; keeping away from it is no loss,
    unless no other node would do.
    """
    rooms = {node.name: room(node, pod, workers) for node in nodes}
    left = sum(found > 0 for found in rooms.values()) // 2
    spare = sum(rooms.values()) - workers
    chosen = []
    for name in suspected:
        if name not in rooms:
            continue
        if rooms[name] > spare or (rooms[name] > 0 and left == 0):
            continue
        left -= rooms[name] > 0
        spare -= rooms[name]
        chosen.append(name)
    return tuple(sorted(chosen))


def room(node: NodeView, pod: Mapping[str, Any], workers: int) -> int:
    """How many of so many pods the node would take if it were empty, by all that the scheduler
    looks at which does not change with what runs where."""
    if not may_run_on(node, pod):
        return 0
    wanted = requests(pod)
    fit = [int(node.allocatable.get(name, 0) / amount) for name, amount in wanted.items()]
    return min([workers, *fit])


def requests(pod: Mapping[str, Any]) -> dict[str, Decimal]:
    """What the pod's containers ask for in all: where one names only a limit, that, as the API
    server fills it in.

    https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
    """
    found: dict[str, Decimal] = {}
    for container in pod.get("containers") or ():
        asked = container.get("resources") or {}
        amounts = {**(asked.get("limits") or {}), **(asked.get("requests") or {})}
        for name, amount in amounts.items():
            found[name] = found.get(name, Decimal(0)) + quantity(amount)
    return {name: amount for name, amount in found.items() if amount > 0}


def may_run_on(node: NodeView, pod: Mapping[str, Any]) -> bool:
    """Whether the node is one of those that the pod may run on, whatever it has: by its selector,
    its required affinity and its tolerations.

    https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
    """
    selector = pod.get("nodeSelector") or {}
    if any(node.labels.get(key) != value for key, value in selector.items()):
        return False
    required = ((pod.get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED)
    if required and not any(_term_fits(node, t) for t in required.get("nodeSelectorTerms") or ()):
        return False
    tolerations = pod.get("tolerations") or ()
    return all(any(_tolerates(t, taint) for t in tolerations) for taint in node.taints)


def _term_fits(node: NodeView, term: Mapping[str, Any]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    return bool(expressions or fields) and all(
        _requirement_holds(requirement, values)
        for requirements, values in (
            (expressions, node.labels),
            (fields, {"metadata.name": node.name}),
        )
        for requirement in requirements
    )


def _requirement_holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.get("key", ""))
    values = requirement.get("values") or ()
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            if value is None or not (value.lstrip("-").isdigit() and values):
                return False
            difference = int(value) - int(values[0])
            return difference > 0 if operator == "Gt" else difference < 0
    return False


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    key = toleration.get("key") or ""
    if toleration.get("operator") == "Exists":
        return key in ("", taint.key)
    return key == taint.key and (toleration.get("value") or "") == taint.value
