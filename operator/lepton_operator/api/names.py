"""Names that users and other programs rely on: group, labels, annotations, conditions, reasons."""

from enum import StrEnum

GROUP = "training.lepton.ai"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "LeptonTrainingJob"
PLURAL = "leptontrainingjobs"
SINGULAR = "leptontrainingjob"
SHORT_NAME = "ltj"
CATEGORY = "lepton"

LABEL_JOB_NAME = f"{GROUP}/job-name"
"""On every object of a job: the job's name."""
LABEL_ATTEMPT = f"{GROUP}/attempt"
"""On an attempt's Job and pods: the attempt's number, from 1."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAMESPACE = "kubernetes.io/metadata.name"
"""On every namespace, by the API server: its name."""
MANAGER = "lepton-operator"
"""Field manager, and the value of LABEL_MANAGED_BY; reflectors select by it."""
ANNOTATION_DESIRED_HASH = f"{GROUP}/desired-hash"
"""Digest of the object as the operator wanted it; a difference is the only reason to change it."""

MANAGED_BY = f"{GROUP}/{MANAGER}"
"""spec.managedBy of jobs that this operator looks after, as when there is none."""

MAX_NAME_LENGTH = 50
"""Room for `-<attempt>-<index>` in a pod's host name, which may have 63 characters."""
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""RFC 1035, the strictest of what a name becomes part of: host names, labels, other names."""
NAME_MESSAGE = (
    f"metadata.name must be at most {MAX_NAME_LENGTH} characters long, begin with a letter, and"
    " consist of lower-case letters, digits and '-': it becomes part of the workers' host names"
)


class Phase(StrEnum):
    """For people's eyes; derived from the conditions."""

    PENDING = "Pending"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


class ConditionType(StrEnum):
    """What is observed of a job. Complete and Failed are terminal; Finished is either."""

    ADMITTED = "Admitted"
    PODS_READY = "PodsReady"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"
    FINISHED = "Finished"


class Reason(StrEnum):
    """Reasons of conditions and events."""

    # Admitted, and PodsReady while the queue keeps the job
    QUEUED = "Queued"
    ADMITTED = "Admitted"
    # PodsReady
    WAITING_FOR_START = "WaitingForStart"
    STARTING = "Starting"
    ALL_PODS_READY = "AllPodsReady"
    PODS_PENDING = "PodsPending"
    PODS_NOT_READY = "PodsNotReady"
    RESTARTING = "Restarting"
    CREATION_REFUSED = "CreationRefused"
    """An object of the attempt can't be made for now (quota, admission); also an event."""
    # Suspended
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    # Stalled
    NO_PROGRESS = "NoProgress"
    NON_FINITE = "NonFiniteMetrics"
    PROGRESSING = "Progressing"
    # Complete
    TRAINING_COMPLETE = "TrainingComplete"
    # Failed
    INVALID_SPEC = "InvalidSpec"
    NAME_TAKEN = "NameTaken"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CANNOT_START = "ContainerCannotStart"
    MAX_RESTARTS_EXCEEDED = "MaxRestartsExceeded"
    MAX_INTERRUPTIONS_EXCEEDED = "MaxInterruptionsExceeded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    PENDING_DEADLINE_EXCEEDED = "PendingDeadlineExceeded"
    FAILED_BY_RULE = "FailedByRule"
    REPEATED_FAILURE = "RepeatedFailure"
    """The same rank failed at the same step again; as an event, before it is for good."""
    # attempts, and events
    ERROR = "Error"
    """The program exited with another code than 0."""
    OUT_OF_MEMORY = "OutOfMemory"
    POD_DELETED = "PodDeleted"
    JOB_DELETED = "JobDeleted"
    EVICTED = "Evicted"
    REJECTED = "Rejected"
    """The node of a pod refused to run it."""
    PREEMPTED = "Preempted"
    NODE_LOST = "NodeLost"
    NETWORK_LOST = "NetworkLost"
    """Workers that ran did not hear each other any more."""
    JOB_FAILED = "JobFailed"
    """The batch Job failed and nothing tells why."""
    # events only
    ATTEMPT_STARTED = "AttemptStarted"
    ATTEMPT_FAILED = "AttemptFailed"
    RESIZED = "Resized"
    """The number of workers changed; also the reason of the attempt that ended by it."""
    AVOIDING_NODES = "AvoidingNodes"
    """An attempt keeps away from nodes on which others died."""
    MEMORY_LIMITED = "MemoryLimited"
    """growMemoryBy asks for more than the namespace allows."""


class FailureClass(StrEnum):
    """Why an attempt ended before its work was done."""

    INFRASTRUCTURE = "Infrastructure"
    """Node lost, eviction, preemption, pod deleted by others, a node that refuses a pod or can't
    start its container, a registry that does not answer: restarts outside the budget."""
    APPLICATION = "Application"
    """The program exited with an error: restarts within maxRestarts."""
    OUT_OF_MEMORY = "OutOfMemory"
    """A container was killed at its memory limit: restarts within maxRestarts."""
    STALLED = "Stalled"
    """No progress, or numbers that are none: restarts within maxRestarts."""
    INVALID = "Invalid"
    """Another attempt can't help: the specification or the image is at fault."""
