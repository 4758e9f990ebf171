"""What the command line and the environment decide."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import yaml

from lepton_operator.api.shapes import Shape, parse_shapes
from lepton_operator.reconcile.settings import NetworkAccess, Settings


@dataclass(frozen=True)
class Options:
    """Options of `lepton-operator run`."""

    settings: Settings
    namespace: str | None
    """Watch this namespace only; None: all."""
    lease_namespace: str
    lease_name: str
    in_cluster: bool
    """Whether pods can be reached directly; outside, progress travels by the API server."""
    port: int
    log_format: str
    log_level: str
    workers: int
    write_rate: float
    progress_seconds: float
    audit_seconds: float
    """Between two comparisons of the known training jobs with a list of all."""


def labels(text: str) -> tuple[tuple[str, str], ...]:
    """The labels of `key=value,...`. Raises ValueError."""
    found = [item.partition("=") for item in text.split(",") if item]
    if not all(key and equals for key, equals, _ in found):
        raise ValueError(f"{text} is not LABEL=VALUE,...")
    return tuple((key, value) for key, _, value in found)


def shapes_of(path: str) -> Mapping[str, Shape]:
    """The shapes of a file. Raises ArgumentTypeError, which says what is wrong with it."""
    try:
        return parse_shapes(yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument(
        "--trainer-image",
        required=True,
        metavar="IMAGE",
        help="image of the jobs that name none",
    )
    parser.add_argument("--namespace", help="watch one namespace only (default: all)")
    parser.add_argument(
        "--lease-namespace",
        default=os.environ.get("POD_NAMESPACE", "default"),
        help="namespace of the Lease by which replicas elect their leader (%(default)s)",
    )
    parser.add_argument("--lease-name", default="lepton-operator", help="its name (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8080, help="port of probes and metrics (%(default)s)"
    )
    parser.add_argument(
        "--log-format",
        choices=("auto", "json", "text"),
        default="auto",
        help="json for machines, text for people; auto: text on a terminal (%(default)s)",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info"
    )
    parser.add_argument(
        "--workers", type=int, default=16, help="jobs reconciled side by side (%(default)s)"
    )
    parser.add_argument(
        "--write-rate",
        type=float,
        default=120.0,
        help="writes a second to the API server at most (%(default)s); progress gets about half",
    )
    parser.add_argument(
        "--progress-seconds",
        type=float,
        default=10.0,
        help="shortest time between two progress writes of one job (%(default)s)",
    )
    parser.add_argument(
        "--audit-seconds",
        type=float,
        default=120.0,
        help="time between two comparisons of what watches have told with a list of what is there;"
        " costs one list of metadata, of the objects of jobs a fifth as often (%(default)s)",
    )
    parser.add_argument(
        "--max-interruptions",
        type=int,
        default=Settings.max_interruptions,
        help="restarts of a job after infrastructure failures (%(default)s)",
    )
    parser.add_argument(
        "--interconnect-label",
        default=Settings.interconnect_label,
        metavar="LABEL",
        help="label that nodes of one fast interconnect share the value of (%(default)s)",
    )
    parser.add_argument(
        "--network-policies",
        action=argparse.BooleanOptionalAction,
        default="KUBERNETES_SERVICE_HOST" in os.environ,
        help="make a NetworkPolicy for each job, that lets its workers reach each other and the"
        " operator and Prometheus reach their figures (default: when running in the cluster)",
    )
    parser.add_argument(
        "--metrics-namespaces",
        type=labels,
        default=(),
        metavar="LABEL=VALUE,...",
        help="labels of the namespaces whose pods may read the workers' metrics (default: none)",
    )
    parser.add_argument(
        "--resource-shapes",
        type=shapes_of,
        default={},
        metavar="FILE",
        help="YAML of what spec.resourceShape may name: resources, nodeSelector and tolerations by"
        " name (default: none)",
    )
    parser.add_argument(
        "--finished-pods-seconds",
        type=int,
        metavar="SECONDS",
        help="delete the pods of a finished job after this time (default: with the job)",
    )


def from_arguments(arguments: argparse.Namespace) -> Options:
    """The options from parsed arguments."""
    return Options(
        settings=Settings(
            trainer_image=arguments.trainer_image,
            max_interruptions=arguments.max_interruptions,
            interconnect_label=arguments.interconnect_label,
            shapes=arguments.resource_shapes,
            network=(
                NetworkAccess(arguments.lease_namespace, arguments.metrics_namespaces)
                if arguments.network_policies
                else None
            ),
            finished_pods_kept=(
                timedelta(seconds=arguments.finished_pods_seconds)
                if arguments.finished_pods_seconds is not None
                else None
            ),
        ),
        namespace=arguments.namespace,
        lease_namespace=arguments.lease_namespace,
        lease_name=arguments.lease_name,
        in_cluster="KUBERNETES_SERVICE_HOST" in os.environ,
        port=arguments.port,
        log_format=arguments.log_format,
        log_level=arguments.log_level,
        workers=arguments.workers,
        write_rate=arguments.write_rate,
        progress_seconds=arguments.progress_seconds,
        audit_seconds=arguments.audit_seconds,
    )
