"""`spec.scheduling`: where workers run, and before whom."""

from typing import Annotated

from pydantic import Field

from lepton.spec.base import SpecModel, not_supported_yet
from lepton_operator.api.fields import LabelValue, ObjectName


class Scheduling(SpecModel):
    """Where workers run, and before whom."""

    gang: Annotated[str, Field(max_length=32)] | None = not_supported_yet()
    """Who starts all workers or none. Not supported yet."""
    queue: Annotated[str, Field(max_length=253)] | None = not_supported_yet()
    """Queue that the job waits in. Not supported yet."""
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
