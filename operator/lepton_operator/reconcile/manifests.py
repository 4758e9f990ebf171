"""The objects of one attempt: a batch Job, a PodGroup, slices of addresses, a policy, a claim; and
the namespace's Service."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from lepton.spec.agent import AgentSpec
from lepton.spec.environment import EnvironmentSpec
from lepton.spec.run import (
    PORT_VARIABLE,
    RUN_VARIABLE,
    STORAGE_VARIABLE,
    TERMINATION_LOG_VARIABLE,
    RunConfiguration,
)
from lepton.spec.trainer import CheckpointSpec, EvaluationSpec, TrainerSpec
from lepton_operator.api import names
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.spec import AccessMode, LeptonTrainingJobSpec, Storage
from lepton_operator.reconcile import addresses, gangs, memory, network, scheduling, volumes
from lepton_operator.reconcile.observed import ANNOTATION_INDEX, JobView, PodView
from lepton_operator.reconcile.settings import NetworkAccess, Settings

Manifest = dict[str, Any]

CONTAINER = "worker"
TERMINATION_LOG = "/dev/termination-log"
NON_ROOT = 65_532
"""User and group of the workers, as in distroless images."""
GRACE_SECONDS = 30
"""Time that a worker has to write a checkpoint when it is asked to end."""
GPU_RESOURCES = frozenset(
    {
        "nvidia.com/gpu",
        "nvidia.com/gpu.shared",
        "amd.com/gpu",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "habana.ai/gaudi",
        "google.com/tpu",
        "cambricon.com/mlu",
    }
)
"""Extended resources of which each is a device of its own, as device plugins name them."""
GPU_RESOURCE_PREFIXES = ("nvidia.com/mig-", "huawei.com/Ascend")
"""Of parts of a device, and of models: a process can use no more than one of them."""


def digest(manifest: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that tell one manifest from another; order of keys is no matter."""
    canonical = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def job_name(job: TrainingJob, attempt: int) -> str:
    """Name of an attempt's batch Job."""
    return f"{job.name}-{attempt}"


def is_job_name(job: TrainingJob, name: str | None) -> bool:
    """Whether a batch Job of some attempt has this name."""
    prefix = f"{job.name}-"
    return name is not None and name.startswith(prefix) and name.removeprefix(prefix).isdigit()


def processes_per_worker(spec: LeptonTrainingJobSpec) -> int:
    """One process a GPU, and one where there is none."""
    gpus = 0
    for name, amount in spec.resources.limits.items():
        if name in GPU_RESOURCES or name.startswith(GPU_RESOURCE_PREFIXES):
            text = str(amount)
            gpus += int(text) if text.isdigit() else 0
    return max(1, gpus)


def objects(
    job: TrainingJob, spec: LeptonTrainingJobSpec, settings: Settings
) -> tuple[Manifest, ...]:
    """What every attempt of the job needs beside its Job."""
    found = []
    if settings.network is not None:
        found.append(network_policy(job, spec, settings.network, settings.progress_port))
    if spec.workers > 1:
        found.append(service(job.namespace))
    if spec.storage is not None and spec.storage.size is not None:
        found.append(claim(job, spec.storage))
    return tuple(found)


def service(namespace: str) -> Manifest:
    """The headless Service that gives workers their names. It is nobody's: all jobs of a namespace
    share it."""
    return _finished(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "namespace": namespace,
                "name": addresses.SERVICE,
                "labels": dict(_COMMON_LABELS),
            },
            "spec": addresses.service_spec(),
        }
    )


def endpoint_slices(
    job: TrainingJob, batch: JobView, pods: Iterable[PodView]
) -> tuple[Manifest, ...]:
    """Where the workers' names lead, once all pods of this batch Job have addresses."""
    found = []
    bodies = addresses.slices(batch.name, batch.workers, pods)
    for name, body in zip(addresses.slice_names(job.name, batch.workers), bodies, strict=False):
        metadata = _metadata(job, name)
        metadata["labels"] |= addresses.slice_labels()
        manifest = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        found.append(_finished({**manifest, "metadata": metadata, **body}))
    return tuple(found)


def network_policy(
    job: TrainingJob, spec: LeptonTrainingJobSpec, access: NetworkAccess, port: int
) -> Manifest:
    """What keeps others away from the workers."""
    return _finished(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(job, job.name),
            "spec": network.policy_spec(job, spec, access, port),
        },
    )


def claim(job: TrainingJob, storage: Storage) -> Manifest:
    """The claim that `storage.size` asks for."""
    wanted: Manifest = {
        "accessModes": [storage.access_mode or AccessMode.READ_WRITE_ONCE],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        wanted["storageClassName"] = storage.storage_class_name
    return _finished(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": _metadata(job, job.name),
            "spec": wanted,
        },
    )


def pod_group(
    job: TrainingJob, spec: LeptonTrainingJobSpec, attempt: int, settings: Settings
) -> Manifest | None:
    """The group of the attempt's pods, where somebody places them together. It is called like the
    attempt's Job."""
    wanted = gangs.pod_group(spec, gangs.chosen(spec, settings))
    if wanted is None:
        return None
    return _finished({**wanted, "metadata": _metadata(job, job_name(job, attempt), attempt)})


def batch_job(
    job: TrainingJob, spec: LeptonTrainingJobSpec, attempt: int, settings: Settings
) -> Manifest:
    """The Job of one attempt. It never restarts a pod: starting anew is a new attempt."""
    metadata = _metadata(job, job_name(job, attempt), attempt)
    metadata["labels"] |= gangs.job_labels(spec)
    return _finished(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                "completionMode": "Indexed",
                "completions": spec.workers,
                "parallelism": spec.workers,
                "backoffLimit": 0,
                "podReplacementPolicy": "Failed",
                "suspend": gangs.holds(spec),
                "template": _pod_template(job, spec, attempt, settings),
            },
        },
    )


def suspension(view: JobView, suspend: bool) -> Manifest:
    """What is applied to an existing Job to suspend or resume it: this field and nothing else,
    since the pod template can't change and may have been made by another version of the operator.
    The UID keeps the apply from making a Job where there is none any more."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": view.namespace, "name": view.name, "uid": view.uid},
        "spec": {"suspend": suspend},
    }


def _metadata(job: TrainingJob, name: str, attempt: int | None = None) -> Manifest:
    return {
        "namespace": job.namespace,
        "name": name,
        "labels": _labels(job, attempt),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": job.name,
                "uid": job.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


_COMMON_LABELS = {
    "app.kubernetes.io/name": "lepton-training",
    names.LABEL_MANAGED_BY: names.MANAGER,
}


def _labels(job: TrainingJob, attempt: int | None) -> dict[str, str]:
    labels = {**_COMMON_LABELS, names.LABEL_JOB_NAME: job.name}
    if attempt is not None:
        labels[names.LABEL_ATTEMPT] = str(attempt)
    return labels


def _finished(manifest: Manifest) -> Manifest:
    """The manifest with its own digest in an annotation."""
    annotations = {names.ANNOTATION_DESIRED_HASH: digest(manifest)}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def _pod_template(
    job: TrainingJob, spec: LeptonTrainingJobSpec, attempt: int, settings: Settings
) -> Manifest:
    template, labels = spec.template, _labels(job, attempt)
    gang, group = gangs.chosen(spec, settings), job_name(job, attempt)
    metadata: Manifest = {"labels": {**template.labels, **gangs.pod_labels(gang, group), **labels}}
    annotations = {**template.annotations, **gangs.pod_annotations(gang, group)}
    if annotations:
        metadata["annotations"] = annotations
    pod: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NON_ROOT,
            "runAsGroup": NON_ROOT,
            "fsGroup": NON_ROOT,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job, spec, attempt, settings)],
        "volumes": volumes.volumes(job, spec),
        **gangs.pod_fields(gang, group),
    }
    if spec.workers > 1:
        pod["subdomain"] = addresses.SERVICE
    for field, value in (
        ("affinity", scheduling.affinity(spec, job.status, labels, settings)),
        ("topologySpreadConstraints", scheduling.spread(spec, labels, settings)),
        ("priorityClassName", spec.scheduling.priority_class_name),
        ("nodeSelector", dict(template.node_selector)),
        ("tolerations", list(template.tolerations)),
        ("runtimeClassName", template.runtime_class_name),
        ("serviceAccountName", template.service_account_name),
        ("imagePullSecrets", [{"name": secret.name} for secret in spec.image_pull_secrets]),
    ):
        if value:
            pod[field] = value
    return {"metadata": metadata, "spec": pod}


def _container(
    job: TrainingJob, spec: LeptonTrainingJobSpec, attempt: int, settings: Settings
) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": spec.image or settings.trainer_image,
        "env": _environment(job, spec, attempt, settings),
        "ports": [{"name": "metrics", "containerPort": settings.progress_port, "protocol": "TCP"}],
        "volumeMounts": volumes.mounts(job, spec),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if spec.environment is not None:
        container["command"] = ["lepton", "worker"]
        container["readinessProbe"] = {
            "httpGet": {"path": "/healthz", "port": "metrics"},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
        }
    elif spec.command is not None:
        container["command"] = list(spec.command)
    if spec.args:
        container["args"] = list(spec.args)
    if spec.image_pull_policy is not None:
        container["imagePullPolicy"] = str(spec.image_pull_policy)
    resources = memory.resources(spec, job.status)
    if resources:
        container["resources"] = resources
    return container


def _environment(
    job: TrainingJob, spec: LeptonTrainingJobSpec, attempt: int, settings: Settings
) -> list[Manifest]:
    """The operator's variables, then the user's; a default of ours gives way to the user's."""
    processes = processes_per_worker(spec)
    first = "localhost"
    if spec.workers > 1:
        first = addresses.dns_name(job_name(job, attempt), 0)
    ours: dict[str, Any] = {
        "HOME": volumes.TEMPORARY_MOUNT,
        "PYTHONUNBUFFERED": "1",
        PORT_VARIABLE: str(settings.progress_port),
        TERMINATION_LOG_VARIABLE: TERMINATION_LOG,
        "PET_NNODES": str(spec.workers),
        "PET_NPROC_PER_NODE": str(processes),
        "PET_NODE_RANK": _INDEX,
        "PET_RDZV_BACKEND": "static",
        "PET_RDZV_ENDPOINT": f"{first}:{addresses.RENDEZVOUS_PORT}",
        "PET_RDZV_ID": f"{job.uid}-{attempt}",
        "MASTER_ADDR": first,
        "MASTER_PORT": str(addresses.RENDEZVOUS_PORT),
        "WORLD_SIZE": str(spec.workers * processes),
    }
    if processes == 1:
        ours["RANK"] = _INDEX
    storage = volumes.storage_path(job, spec)
    if storage is not None:
        ours[STORAGE_VARIABLE] = storage
    if spec.environment is not None:
        ours[RUN_VARIABLE] = run_configuration(job, spec, spec.environment).model_dump_json(
            by_alias=True, exclude_none=True
        )
    taken = {variable.name for variable in spec.env}
    found = [
        {"name": name, **(value if isinstance(value, dict) else {"value": value})}
        for name, value in ours.items()
        if name not in taken
    ]
    for variable in spec.env:
        entry: Manifest = {"name": variable.name}
        if variable.value is not None:
            entry["value"] = variable.value
        if variable.value_from is not None:
            entry["valueFrom"] = dict(variable.value_from)
        found.append(entry)
    return found


_INDEX = {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_INDEX}']"}}}


def run_configuration(
    job: TrainingJob, spec: LeptonTrainingJobSpec, environment: EnvironmentSpec
) -> RunConfiguration:
    """What lepton's trainer is told."""
    return RunConfiguration(
        job=f"{job.namespace}/{job.name}",
        environment=environment,
        agent=spec.agent or AgentSpec(),
        trainer=spec.trainer or TrainerSpec(),
        evaluation=spec.evaluation or EvaluationSpec(),
        checkpoint=spec.checkpoint or CheckpointSpec(),
        resume_from=volumes.resume_path(job, spec),
    )
