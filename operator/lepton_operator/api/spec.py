"""`spec` of a LeptonTrainingJob. Sections about learning come from `lepton.spec`."""

from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from lepton.spec.agent import AgentSpec
from lepton.spec.base import RULES, SpecModel, not_supported_yet, refusal, rule, rules, text_like
from lepton.spec.environment import EnvironmentSpec
from lepton.spec.trainer import CLAIM_SCHEME, CheckpointSpec, EvaluationSpec, TrainerSpec
from lepton_operator.api.elastic import Elastic
from lepton_operator.api.failure_policy import FailurePolicy
from lepton_operator.api.fields import (
    LONGEST_SECONDS,
    SIZE_PATTERN,
    Argument,
    ObjectName,
    OpenObject,
    Quantity,
    Seconds,
)
from lepton_operator.api.scheduling import Scheduling
from lepton_operator.api.volumes import Volume


class ImagePullPolicy(StrEnum):
    """When the kubelet pulls the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class ImagePullSecret(SpecModel):
    """A Secret of the job's namespace with credentials of an image registry."""

    name: ObjectName
    """Name of the Secret."""


OWN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OWN_VARIABLE_PREFIXES = ("LEPTON_", "PET_")
VARIABLE_IS_OURS = "is set by the operator; choose another name"
VALUE_OR_VALUE_FROM = "set either value or valueFrom, not both"


class EnvironmentVariable(SpecModel):
    """One variable of the training container, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.value) && has(self.valueFrom))", VALUE_OR_VALUE_FROM)
        )
    )

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=256, pattern=r"^[^=]+$"),
        Field(
            json_schema_extra={
                RULES: [
                    {
                        "rule": f"!(self in {list(OWN_VARIABLES)})"
                        + "".join(
                            f" && !self.startsWith('{prefix}')" for prefix in OWN_VARIABLE_PREFIXES
                        ),
                        "message": f"this variable {VARIABLE_IS_OURS}",
                        "messageExpression": f"self + ' {VARIABLE_IS_OURS}'",
                    }
                ]
            }
        ),
    ]
    """Name of the variable. Names that the operator sets (LEPTON_*, PET_*, RANK, WORLD_SIZE,
    MASTER_ADDR, MASTER_PORT) are refused."""
    value: Argument | None = None
    """Its value."""
    value_from: OpenObject | None = None
    """Where the value comes from: a secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef
    as in a pod."""

    @model_validator(mode="after")
    def _not_one_of_ours(self) -> "EnvironmentVariable":
        if self.name in OWN_VARIABLES or self.name.startswith(OWN_VARIABLE_PREFIXES):
            raise refusal(f"{self.name} {VARIABLE_IS_OURS}", field="name")
        if self.value is not None and self.value_from is not None:
            raise refusal(VALUE_OR_VALUE_FROM)
        return self


class Resources(SpecModel):
    """What each worker's container requests and is limited to, as in a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """Guaranteed amounts by resource name."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(default_factory=dict)
    """Upper bounds by resource name; GPUs (nvidia.com/gpu) belong here. The number of GPUs sets
    how many processes a worker runs."""


LABEL_IS_OURS = "labels of training.lepton.ai/ and app.kubernetes.io/managed-by are the operator's"


class PodTemplate(SpecModel):
    """Pod fields of the workers that are not the operator's business, passed through."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.labels) || self.labels.all(k, !k.startsWith('training.lepton.ai/')"
                " && k != 'app.kubernetes.io/managed-by')",
                LABEL_IS_OURS,
                field="labels",
            )
        )
    )

    labels: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=32)
    ] = Field(default_factory=dict)
    """Labels to add to the pods."""
    annotations: Annotated[dict[str, Argument], Field(max_length=32)] = Field(default_factory=dict)
    """Annotations to add to the pods."""
    node_selector: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=63)]], Field(max_length=32)
    ] = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: Annotated[list[OpenObject], Field(max_length=32)] = Field(default_factory=list)
    """Taints that the pods tolerate, as in a pod."""
    affinity: OpenObject | None = None
    """Affinity as in a pod."""
    volumes: Annotated[list[Volume], Field(max_length=32)] = Field(default_factory=list)
    """Volumes as in a pod, but for hostPath and for tokens that the API server takes."""
    volume_mounts: Annotated[list[OpenObject], Field(max_length=32)] = Field(default_factory=list)
    """Where the training container mounts them, as in a container."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods."""
    service_account_name: ObjectName | None = None
    """Service account of the pods. Its token is not mounted."""

    @model_validator(mode="after")
    def _labels_are_the_users(self) -> "PodTemplate":
        ours = [
            key
            for key in self.labels
            if key.startswith("training.lepton.ai/") or key == "app.kubernetes.io/managed-by"
        ]
        if ours:
            raise refusal(LABEL_IS_OURS, field="labels")
        return self


class AccessMode(StrEnum):
    """How many nodes may mount the claim that the operator makes."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


CLAIM_OR_SIZE = "set either claimName (an existing claim) or size (a new one)"
GOES_WITH_SIZE = "storageClassName and accessMode go with size"


class Storage(SpecModel):
    """Where checkpoints and the model are kept: an existing claim, or one made for the job."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.claimName) != has(self.size)", CLAIM_OR_SIZE),
            rule(
                "has(self.size) || !(has(self.storageClassName) || has(self.accessMode))",
                GOES_WITH_SIZE,
            ),
        )
    )

    claim_name: ObjectName | None = None
    """An existing PersistentVolumeClaim of the job's namespace. It outlives the job."""
    size: (
        Annotated[
            str,
            StringConstraints(max_length=32),
            *text_like(
                SIZE_PATTERN,
                "size is a quantity of storage, such as 10Gi",
            ),
        ]
        | None
    ) = None
    """Size of a claim to make for the job, such as 10Gi. It is deleted with the job."""
    storage_class_name: ObjectName | None = None
    """StorageClass of that claim. Default: the cluster's."""
    access_mode: AccessMode | None = None
    """Access mode of that claim. Default: ReadWriteOnce, which puts all workers on one node."""
    uri: Annotated[str, Field(max_length=1024)] | None = not_supported_yet()
    """Object storage. Not supported yet."""

    @model_validator(mode="after")
    def _claim_or_size(self) -> "Storage":
        if (self.claim_name is None) == (self.size is None):
            raise refusal(CLAIM_OR_SIZE)
        if self.size is None and (self.storage_class_name or self.access_mode):
            raise refusal(GOES_WITH_SIZE)
        return self


NOT_BOTH = "set either environment (lepton trains) or command and args (your own program), not both"
ONE_OF_THEM = "set environment (lepton trains) or command (your own program)"
GROWTH_NEEDS_A_LIMIT = "growMemoryBy needs resources.limits.memory, which is what grows"
RESUME_NEEDS_A_CLAIM = (
    "resumeFrom is a path on storage.claimName, which is not set; with pvc://claim/path it may be"
    " on any claim"
)
OUT_OF_BOUNDS = "workers must lie between elastic.min and elastic.max"
WHOLE_SEGMENTS = "workers must be a multiple of scheduling.segmentSize"
SECTIONS_OF_LEARNING = ("agent", "trainer", "evaluation", "checkpoint")


def goes_with_environment(section: str) -> str:
    """What a user reads who sets a section of lepton's trainer for a program of his own."""
    return f"{section} goes with environment; a program of your own doesn't read it"


class LeptonTrainingJobSpec(SpecModel):
    """What to train, with what, on what."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.environment)"
                " || !(has(self.command) || (has(self.args) && size(self.args) > 0))",
                NOT_BOTH,
            ),
            rule(
                "has(self.environment) || has(self.command) || has(self.image)"
                " || (has(self.args) && size(self.args) > 0)",
                ONE_OF_THEM,
            ),
            *(
                rule(
                    f"!has(self.{section}) || has(self.environment)",
                    goes_with_environment(section),
                    field=section,
                )
                for section in SECTIONS_OF_LEARNING
            ),
            rule(
                "!has(self.failurePolicy) || !has(self.failurePolicy.growMemoryBy)"
                " || has(self.resourceShape) || (has(self.resources) && has(self.resources.limits)"
                " && 'memory' in self.resources.limits)",
                GROWTH_NEEDS_A_LIMIT,
                field="failurePolicy",
            ),
            rule(
                "!has(self.checkpoint) || !has(self.checkpoint.resumeFrom)"
                f" || self.checkpoint.resumeFrom.startsWith('{CLAIM_SCHEME}')"
                " || (has(self.storage) && has(self.storage.claimName))",
                RESUME_NEEDS_A_CLAIM,
                field="checkpoint",
            ),
            rule(
                "!has(self.scheduling) || !has(self.scheduling.segmentSize)"
                " || self.workers % self.scheduling.segmentSize == 0",
                WHOLE_SEGMENTS,
                field="workers",
            ),
            rule(
                "!has(self.elastic)"
                " || self.workers >= self.elastic.min && self.workers <= self.elastic.max",
                OUT_OF_BOUNDS,
                field="workers",
            ),
        )
    )

    environment: EnvironmentSpec | None = None
    """What the agent acts in. With it the trainer image's lepton library does the training;
    command is for a program of your own."""
    agent: AgentSpec | None = None
    """What learns. Only with environment."""
    trainer: TrainerSpec | None = None
    """How long and how to train. Only with environment."""
    evaluation: EvaluationSpec | None = None
    """How the policy is judged. Only with environment."""
    checkpoint: CheckpointSpec | None = None
    """How often the run's state is saved. Only with environment."""
    deployment: OpenObject | None = not_supported_yet()
    """Deployment of the trained policy. Not supported yet."""

    workers: Annotated[int, Field(ge=1, le=4096)] = 1
    """Number of worker pods, which train together (data parallel). It may change before the job
    starts and while it is suspended; while it runs only with elastic."""
    elastic: Elastic | None = None
    """Bounds between which workers may change while the job runs, by hand, by kubectl scale or by
    an autoscaler. Each change restarts the workers from a checkpoint and costs no restart."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    """Image of the workers. Default: the trainer image that the operator was installed with."""
    image_pull_policy: ImagePullPolicy | None = None
    """When to pull the image. Default: Kubernetes' own."""
    image_pull_secrets: Annotated[list[ImagePullSecret], Field(max_length=8)] = Field(
        default_factory=list
    )
    """Credentials for the image's registry."""
    command: Annotated[list[Argument], Field(min_length=1, max_length=64)] | None = None
    """Your own program, in place of lepton's trainer. It finds torchrun's environment
    (PET_NNODES, PET_NODE_RANK, ...) and MASTER_ADDR, MASTER_PORT, WORLD_SIZE."""
    args: Annotated[list[Argument], Field(max_length=256)] = Field(default_factory=list)
    """Arguments of command, or of the image's entry point."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=128)] = Field(default_factory=list)
    """Variables of the training container."""
    resources: Resources = Field(default_factory=Resources)
    """Resources of each worker."""
    resource_shape: ObjectName | None = None
    """Name under which the cluster's administrator offers resources and the nodes that have them.
    What resources and template say goes before. An unknown name is refused with those that there
    are."""
    shared_memory: (
        Annotated[
            str,
            StringConstraints(max_length=32),
            *text_like(SIZE_PATTERN, "sharedMemory is an amount of memory, such as 2Gi"),
        ]
        | None
    ) = None
    """Size of /dev/shm, such as 2Gi, by which processes of a worker hand each other data. What is
    used of it counts towards the memory limit. Default: the container runtime's, mostly 64 MiB."""
    template: PodTemplate = Field(default_factory=PodTemplate)
    """Pod fields of the workers: node selector, tolerations, volumes and the like."""
    storage: Storage | None = None
    """Where checkpoints and the model are kept. Without it they end with the pod, and a restart
    begins from zero."""

    scheduling: Scheduling = Field(default_factory=Scheduling)
    """Where workers run, and before whom."""
    failure_policy: FailurePolicy = FailurePolicy()
    """What happens when an attempt fails."""
    suspend: bool = False
    """True: no pods run. Set to true while running, pods end after a checkpoint; set to false
    again, training continues from it."""
    managed_by: (
        Annotated[
            str,
            StringConstraints(max_length=63),
            *text_like(
                r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?",
                "managedBy is a domain and a path, such as example.com/controller",
            ),
        ]
        | None
    ) = None
    """Controller that looks after the job. Any other than training.lepton.ai/lepton-operator, the
    default, makes this operator leave the job and its status alone. Can't change."""
    start_at: AwareDatetime | None = None
    """Time before which the job does not start, such as 2026-12-24T22:00:00Z. Default: at once."""
    active_deadline_seconds: Seconds | None = None
    """For how long its pods may run, over all attempts; then the job fails. Time in which none
    runs, such as between attempts or while suspended, does not count. Default: no limit."""
    pending_deadline_seconds: Seconds | None = None
    """How long an attempt's workers may wait until all of them run; then the job fails, with what
    they wait for. Default: no limit."""
    progress_deadline_seconds: Seconds | None = None
    """How long a running attempt may be without a new step, as lepton's trainer and lepton.report
    tell them; the first step gets three times as long, and at least 10 minutes. Then the attempt
    has failed in class Stalled. Default: no limit."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=LONGEST_SECONDS)] | None = None
    """Seconds after its end at which the job is deleted, with all that it owns. Default: never."""

    @model_validator(mode="after")
    def _fields_agree(self) -> "LeptonTrainingJobSpec":
        own = self.command is not None or bool(self.args)
        if self.environment is not None and own:
            raise refusal(NOT_BOTH)
        if self.environment is None:
            if not own and self.image is None:
                raise refusal(ONE_OF_THEM)
            for section in SECTIONS_OF_LEARNING:
                if getattr(self, section) is not None:
                    raise refusal(goes_with_environment(section), field=section)
        may_have_memory = self.resource_shape or "memory" in self.resources.limits
        if self.failure_policy.grow_memory_by and not may_have_memory:
            raise refusal(GROWTH_NEEDS_A_LIMIT, field="failurePolicy")
        resume_from = self.checkpoint.resume_from if self.checkpoint is not None else None
        has_claim = self.storage is not None and self.storage.claim_name is not None
        if resume_from and not resume_from.startswith(CLAIM_SCHEME) and not has_claim:
            raise refusal(RESUME_NEEDS_A_CLAIM, field="checkpoint")
        if self.scheduling.segment_size and self.workers % self.scheduling.segment_size:
            raise refusal(WHOLE_SEGMENTS, field="workers")
        if self.elastic and not self.elastic.min <= self.workers <= self.elastic.max:
            raise refusal(OUT_OF_BOUNDS, field="workers")
        return self
