"""`spec.scheduling`: who starts all workers or none, where they run, and before whom."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from lepton.spec.base import SpecModel, refusal, rule, rules
from lepton_operator.api.fields import LabelValue, ObjectName


class Gang(StrEnum):
    """Who starts all workers or none."""

    NATIVE = "Native"
    """Kubernetes' own scheduler, by a PodGroup of scheduling.k8s.io (KEP-4671)."""
    KUEUE = "Kueue"
    """Kueue, which holds the Job until its queue has room for all of it."""
    COSCHEDULING = "Coscheduling"
    """The plugin of kubernetes-sigs/scheduler-plugins."""
    VOLCANO = "Volcano"
    """Volcano's scheduler."""
    NONE = "None"
    """Nobody: pods are placed one by one."""


QUEUE_NEEDS_A_KEEPER = "queue goes with gang: Kueue or gang: Volcano, which have queues"
KUEUE_NEEDS_A_QUEUE = "gang: Kueue needs queue, the name of a LocalQueue of the job's namespace"


class Scheduling(SpecModel):
    """Who starts all workers or none, where they run, and before whom."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.queue) || (has(self.gang) && self.gang in ['Kueue', 'Volcano'])",
                QUEUE_NEEDS_A_KEEPER,
                field="queue",
            ),
            rule(
                "!has(self.gang) || self.gang != 'Kueue' || has(self.queue)",
                KUEUE_NEEDS_A_QUEUE,
                field="gang",
            ),
        )
    )

    gang: Gang | None = None
    """Who starts all workers or none: Native (Kubernetes' scheduler and its PodGroup), Kueue,
    Coscheduling, Volcano, or None. Default: Native for more than one worker where the cluster
    offers it, else None."""
    queue: LabelValue | None = None
    """Queue that the job waits in: the LocalQueue of Kueue, or the Queue of Volcano."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    regions: Annotated[list[LabelValue], Field(min_length=1, max_length=32)] | None = None
    """Regions that workers may run in, by the nodes' label topology.kubernetes.io/region.
    status.placement.regions shows where they ran. Default: any."""
    zones: Annotated[list[LabelValue], Field(min_length=1, max_length=32)] | None = None
    """Zones that workers may run in, by the nodes' label topology.kubernetes.io/zone. Default:
    any."""
    segment_size: Annotated[int, Field(ge=2, le=4096)] | None = None
    """How many workers belong together within one interconnect domain, such as a rack with NVLink
    between its nodes; workers is a multiple of it. All workers: they share one domain or wait.
    Fewer: no domain gets more than these while another has none. Nodes of a domain share the
    value of a label that the operator's administrator names (nvidia.com/gpu.clique)."""

    @model_validator(mode="after")
    def _queue_and_keeper_agree(self) -> "Scheduling":
        if self.queue is not None and self.gang not in (Gang.KUEUE, Gang.VOLCANO):
            raise refusal(QUEUE_NEEDS_A_KEEPER, field="queue")
        if self.gang is Gang.KUEUE and self.queue is None:
            raise refusal(KUEUE_NEEDS_A_QUEUE, field="gang")
        return self
