"""Where workers may run: what the job and its failures ask of the scheduler, as pod fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_operator.api.spec import AccessMode, LeptonTrainingJobSpec
from lepton_operator.api.status import LeptonTrainingJobStatus

Json = dict[str, Any]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
HOSTNAME = "kubernetes.io/hostname"


def affinity(
    spec: LeptonTrainingJobSpec, status: LeptonTrainingJobStatus, labels: Mapping[str, str]
) -> Json:
    """The user's affinity and what else must hold. `labels` are those of the attempt's pods."""
    found: Json = dict(spec.template.affinity or {})
    if _one_node_for_all(spec):
        found = _together(found, labels, HOSTNAME)
    avoided = (status.placement.avoided if status.placement is not None else None) or ()
    # A requirement on a field takes one value only.
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in avoided]
    return _on_nodes(found, fields=fields)


def _one_node_for_all(spec: LeptonTrainingJobSpec) -> bool:
    """Whether only one node can mount the claim that all workers share."""
    storage = spec.storage
    return (
        spec.workers > 1
        and storage is not None
        and storage.size is not None
        and storage.access_mode is not AccessMode.READ_WRITE_MANY
    )


def _together(affinity: Json, labels: Mapping[str, str], topology: str) -> Json:
    """The affinity, with all pods of these labels in one domain of the topology."""
    pods = affinity.get("podAffinity") or {}
    terms = pods.get(REQUIRED) or [] if isinstance(pods, Mapping) else None
    if not isinstance(terms, list):
        return affinity  # The API server says what is wrong with it.
    term = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": topology}
    return {**affinity, "podAffinity": {**pods, REQUIRED: [*terms, term]}}


def _on_nodes(
    affinity: Json, *, expressions: Sequence[Json] = (), fields: Sequence[Json] = ()
) -> Json:
    """The affinity, with these requirements on nodes beside the user's. Terms are alternatives,
    so each of them gets all."""
    added = {
        key: list(value)
        for key, value in (("matchExpressions", expressions), ("matchFields", fields))
        if value
    }
    nodes = affinity.get("nodeAffinity") or {}
    required = nodes.get(REQUIRED) or {} if isinstance(nodes, Mapping) else None
    terms = required.get("nodeSelectorTerms") or [{}] if isinstance(required, Mapping) else None
    if not added or not isinstance(terms, list):
        return affinity
    terms = [
        {**term, **{key: [*(term.get(key) or ()), *value] for key, value in added.items()}}
        for term in terms
        if isinstance(term, Mapping)
    ]
    return {**affinity, "nodeAffinity": {**nodes, REQUIRED: {"nodeSelectorTerms": terms}}}
