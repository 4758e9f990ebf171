"""What is mounted in a worker: the job's storage, the run to resume from, temporary files, shared
memory, and the user's own volumes."""

from dataclasses import dataclass
from typing import Any

from lepton.spec.trainer import CLAIM_SCHEME
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.spec import LeptonTrainingJobSpec

Json = dict[str, Any]

STORAGE_MOUNT = "/lepton/storage"
STORAGE_VOLUME = "lepton-storage"
RESUME_MOUNT = "/lepton/resume"
RESUME_VOLUME = "lepton-resume"
TEMPORARY_MOUNT = "/tmp"
TEMPORARY_VOLUME = "lepton-tmp"
SHARED_MEMORY_MOUNT = "/dev/shm"
SHARED_MEMORY_VOLUME = "lepton-shm"


def run_folder(job: TrainingJob) -> str:
    """Folder of this job's files on its storage; another job of the same name has another."""
    return f"{job.name}-{job.uid[:8]}"


def claim_name(job: TrainingJob, spec: LeptonTrainingJobSpec) -> str | None:
    """The claim that the job's files are on, if any."""
    if spec.storage is None:
        return None
    return spec.storage.claim_name or job.name


def storage_path(job: TrainingJob, spec: LeptonTrainingJobSpec) -> str | None:
    """Where the worker finds the job's files."""
    return f"{STORAGE_MOUNT}/{run_folder(job)}" if spec.storage is not None else None


@dataclass(frozen=True)
class _Resume:
    claim: str | None
    """A claim of its own; None for the job's storage."""
    path: str


def _resume(job: TrainingJob, spec: LeptonTrainingJobSpec) -> _Resume | None:
    """Where the checkpoint to begin from lies, if one is named."""
    named = spec.checkpoint.resume_from if spec.checkpoint is not None else None
    if named is None:
        return None
    if not named.startswith(CLAIM_SCHEME):
        return _Resume(None, named)
    claim, _, path = named.removeprefix(CLAIM_SCHEME).partition("/")
    return _Resume(None if claim == claim_name(job, spec) else claim, path)


def resume_path(job: TrainingJob, spec: LeptonTrainingJobSpec) -> str | None:
    """Where the worker finds the checkpoint to begin from."""
    resume = _resume(job, spec)
    if resume is None:
        return None
    return f"{RESUME_MOUNT if resume.claim is not None else STORAGE_MOUNT}/{resume.path}"


def begins_from_zero(spec: LeptonTrainingJobSpec) -> bool:
    """Whether an attempt finds nothing of the one before, nor anything else to go on from."""
    resumes = spec.checkpoint is not None and spec.checkpoint.resume_from is not None
    return not _keeps(spec) and not resumes


def loss_of_progress(spec: LeptonTrainingJobSpec) -> str | None:
    """What an attempt without storage does, for people; None where there is storage."""
    if _keeps(spec):
        return None
    where = "from zero" if begins_from_zero(spec) else "at checkpoint.resumeFrom again"
    return f"without storage training begins {where}"


def _keeps(spec: LeptonTrainingJobSpec) -> bool:
    """Whether anything outlives pods, as far as can be known of a program's own volumes."""
    own_volumes = spec.environment is None and bool(spec.template.volumes)
    return spec.storage is not None or own_volumes


def volumes(job: TrainingJob, spec: LeptonTrainingJobSpec) -> list[Json]:
    """The pod's volumes."""
    found = [volume.to_json_object() for volume in spec.template.volumes]
    if not _users_own_temporary(spec):
        found.append({"name": TEMPORARY_VOLUME, "emptyDir": {}})
    if spec.shared_memory is not None:
        memory = {"medium": "Memory", "sizeLimit": spec.shared_memory}
        found.append({"name": SHARED_MEMORY_VOLUME, "emptyDir": memory})
    name = claim_name(job, spec)
    if name is not None:
        found.append(_claim_volume(STORAGE_VOLUME, name))
    resume = _resume(job, spec)
    if resume is not None and resume.claim is not None:
        found.append(_claim_volume(RESUME_VOLUME, resume.claim))
    return found


def mounts(job: TrainingJob, spec: LeptonTrainingJobSpec) -> list[Json]:
    """Where the training container mounts them."""
    found = [dict(mount) for mount in spec.template.volume_mounts]
    if not _users_own_temporary(spec):
        found.append({"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_MOUNT})
    if spec.shared_memory is not None:
        found.append({"name": SHARED_MEMORY_VOLUME, "mountPath": SHARED_MEMORY_MOUNT})
    if spec.storage is not None:
        found.append({"name": STORAGE_VOLUME, "mountPath": STORAGE_MOUNT})
    resume = _resume(job, spec)
    if resume is not None and resume.claim is not None:
        found.append({"name": RESUME_VOLUME, "mountPath": RESUME_MOUNT, "readOnly": True})
    return found


def _claim_volume(name: str, claim: str) -> Json:
    return {"name": name, "persistentVolumeClaim": {"claimName": claim}}


def _users_own_temporary(spec: LeptonTrainingJobSpec) -> bool:
    return any(
        str(mount.get("mountPath", "")).rstrip("/") == TEMPORARY_MOUNT
        for mount in spec.template.volume_mounts
    )
