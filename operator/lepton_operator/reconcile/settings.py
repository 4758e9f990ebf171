"""What an administrator decides for all jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from lepton.spec.run import PROGRESS_PORT
from lepton_operator.api.scheduling import Gang
from lepton_operator.api.shapes import Shape


@dataclass(frozen=True)
class NetworkAccess:
    """Who reads the workers' figures."""

    operator_namespace: str
    metrics_namespaces: tuple[tuple[str, str], ...] = ()
    """Labels of the namespaces whose pods may, such as Prometheus'; empty: none."""


@dataclass(frozen=True)
class Settings:
    """Settings that decide reads; the shell fills them from its command line, and from what the
    API server offers."""

    trainer_image: str
    """Image of jobs that name none."""
    progress_port: int = PROGRESS_PORT
    max_interruptions: int = 100
    """Restarts beside maxRestarts, mostly after infrastructure failures, before the job fails."""
    last_word_wait: timedelta = timedelta(seconds=30)
    """How long to wait for the pods of a finished Job to show their last word."""
    finished_pods_kept: timedelta | None = None
    """How long pods of a finished job stay, for their logs; None: as long as the job."""
    interconnect_label: str = "nvidia.com/gpu.clique"
    """Label that nodes of one fast interconnect share the value of, for segmentSize; "" where
    there is none. The default is NVIDIA's for multi-node NVLink."""
    gangs: frozenset[Gang] = frozenset()
    """Whose API the cluster offers, of those who start all workers or none."""
    network: NetworkAccess | None = None
    """Who may reach workers beside each other; None: no NetworkPolicy is made."""
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """What spec.resourceShape may name."""
