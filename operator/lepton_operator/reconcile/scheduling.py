"""Where workers may run: what the job and its failures ask of the scheduler, as pod fields."""

from collections.abc import Mapping, Sequence
from typing import Any

from lepton_operator.api.spec import AccessMode, LeptonTrainingJobSpec
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile import gangs
from lepton_operator.reconcile.settings import Settings

Json = dict[str, Any]

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
HOSTNAME = "kubernetes.io/hostname"
REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"


def problem(spec: LeptonTrainingJobSpec, settings: Settings) -> str | None:
    """What can't be asked for in this cluster, as its administrator set it up."""
    if spec.scheduling.segment_size is None or settings.interconnect_label:
        return gangs.problem(spec, settings)
    return (
        "spec.scheduling.segmentSize: the operator knows no interconnect domains; its option"
        " --interconnect-label names the nodes' label that tells them apart"
    )


def affinity(
    spec: LeptonTrainingJobSpec,
    status: LeptonTrainingJobStatus,
    labels: Mapping[str, str],
    settings: Settings,
) -> Json:
    """The user's affinity and what else must hold. `labels` are those of the attempt's pods."""
    found: Json = dict(spec.template.affinity or {})
    if _one_node_for_all(spec):
        found = _together(found, labels, HOSTNAME)
    segment = spec.scheduling.segment_size
    if segment == spec.workers:
        found = _together(found, labels, settings.interconnect_label)
    elif segment is not None:
        found = _together(found, labels, settings.interconnect_label, required=False)
    places = ((REGION, spec.scheduling.regions), (ZONE, spec.scheduling.zones))
    expressions = [
        {"key": key, "operator": "In", "values": list(values)} for key, values in places if values
    ]
    avoided = (status.placement.avoided if status.placement is not None else None) or ()
    # A requirement on a field takes one value only.
    fields = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in avoided]
    return _on_nodes(found, expressions=expressions, fields=fields)


def spread(
    spec: LeptonTrainingJobSpec, labels: Mapping[str, str], settings: Settings
) -> list[Json]:
    """Segments smaller than the whole: no domain gets more than one while another has none, and
    the preferred affinity fills one before the next. All workers have one template, so which of
    them share a domain follows from the order in which they are scheduled."""
    segment = spec.scheduling.segment_size
    if segment is None or segment == spec.workers:
        return []
    return [
        {
            "maxSkew": segment,
            "topologyKey": settings.interconnect_label,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": dict(labels)},
            # A domain that no worker may run in is not one that has none.
            "nodeTaintsPolicy": "Honor",
        }
    ]


def _one_node_for_all(spec: LeptonTrainingJobSpec) -> bool:
    """Whether only one node can mount the claim that all workers share."""
    storage = spec.storage
    return (
        spec.workers > 1
        and storage is not None
        and storage.size is not None
        and storage.access_mode is not AccessMode.READ_WRITE_MANY
    )


def _together(
    affinity: Json, labels: Mapping[str, str], topology: str, *, required: bool = True
) -> Json:
    """The affinity, with all pods of these labels in one domain of the topology: as a must, or as
    far as can be."""
    key = REQUIRED if required else PREFERRED
    pods = affinity.get("podAffinity") or {}
    terms = pods.get(key) or [] if isinstance(pods, Mapping) else None
    if not isinstance(terms, list):
        return affinity  # The API server says what is wrong with it.
    term: Json = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": topology}
    if not required:
        term = {"weight": 100, "podAffinityTerm": term}
    return {**affinity, "podAffinity": {**pods, key: [*terms, term]}}


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
