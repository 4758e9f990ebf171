"""What Kubernetes tells of a pod that did not end by itself, and which class of failure each is.

All in tables. The names are those of pkg/kubelet (lifecycle/predicate.go, cm, nodeshutdown, images,
kuberuntime) and of containerd's CRI plugin, the signs those of containerd, CRI-O, runc, crun and
the NVIDIA container toolkit.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.reconcile.observed import PodView

# A pod that was taken away, or refused: always the infrastructure's.

TAKEN_AWAY = {
    "PreemptionByScheduler": (Reason.PREEMPTED, "was preempted by the scheduler"),
    "DeletionByTaintManager": (Reason.NODE_LOST, "was removed because its node is unhealthy"),
    "DeletionByPodGC": (Reason.NODE_LOST, "was removed because its node is gone"),
    "EvictionByEvictionAPI": (Reason.EVICTED, "was evicted to drain its node"),
    "TerminationByKubelet": (Reason.EVICTED, "was ended by the kubelet"),
    "Evicted": (Reason.EVICTED, "was evicted by the kubelet"),
    "NodeLost": (Reason.NODE_LOST, "was lost with its node"),
    "NodeShutdown": (Reason.NODE_LOST, "was ended because its node shut down"),
    "Terminated": (Reason.NODE_LOST, "was ended because its node shut down"),
    "Preempting": (Reason.PREEMPTED, "was preempted on its node"),
}
"""Reasons of a DisruptionTarget condition and of a pod's status."""

REFUSED_BY_NODE = frozenset(
    {
        "AppArmor",
        "InvalidNodeInfo",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "PodFeatureUnsupported",
        "PodLevelResourcesNotSupported",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SMTAlignmentError",
        "SupplementalGroupsPolicyNotSupported",
        "SysctlForbidden",
        "TaintToleration",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
        "UnexpectedPredicateFailureType",
        "UnknownReason",
        "VolumeAttachmentLimitExceeded",
    }
)
"""Reasons of the status of a pod that the scheduler placed and the kubelet did not admit."""
OUT_OF = "OutOf"
"""Of such a reason, before the resource: OutOfcpu, OutOfpods, OutOfnvidia.com/gpu."""

LOST_CONTAINER = frozenset({"ContainerStatusUnknown", "Unknown"})
"""How a container ended of which the kubelet or containerd found nothing any more, as when its node
was started anew; the exit code (137, 255) is made up."""


def is_refusal(pod: PodView) -> bool:
    """Whether the kubelet did not admit the pod. It may do so for reasons that are newer than the
    list: then the pod has failed with a reason of its own, and no container of it ever ran."""
    if pod.reason is None or pod.reason in TAKEN_AWAY:
        return False
    if pod.reason in REFUSED_BY_NODE or pod.reason.startswith(OUT_OF):
        return True
    return pod.phase == "Failed" and pod.exit_code is None


def taken_away(pod: PodView) -> tuple[Reason, str] | None:
    """What took the pod away, as reason and words; None if nothing did."""
    known = TAKEN_AWAY.get(pod.disruption or "") or TAKEN_AWAY.get(pod.reason or "")
    if known is not None:
        return known
    if pod.disruption is not None:
        return Reason.EVICTED, f"was disrupted ({pod.disruption})"
    if is_refusal(pod):
        return Reason.REJECTED, f"was refused by its node ({pod.reason})"
    if pod.termination_reason in LOST_CONTAINER:
        return Reason.NODE_LOST, "lost its container, as when a node is started anew"
    return None


# A container that does not start: by what its state is called and what the message says.

AT_ONCE = timedelta(0)
STARTUP_GRACE = timedelta(seconds=60)
"""Time for what a container needs (image, Secret) to appear after its pod was placed."""
TRANSIENT_GRACE = timedelta(minutes=10)
"""The same, while the kubelet tries again with some hope."""

BAD_NAME = frozenset({"InvalidImageName"})
NEVER_PULLED = frozenset({"ErrImageNeverPull"})
PULL = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
CONFIGURATION = frozenset({"CreateContainerConfigError"})
NEVER_RAN = frozenset({"ContainerCannotRun", "StartError"})
"""Of a container that has ended without having run: docker's name, and containerd's."""
START = NEVER_RAN | {
    "CreateContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "RunContainerError",
}

NO_SUCH_REGISTRY = r"no such host"
"""A typing error more often than the name server's."""
NO_ANSWER = (
    r"dial tcp|i/o timeout|deadline exceeded|too ?many ?requests|: 5\d\d "
    r"|failed to (extract layer|prepare extraction snapshot)"
)
"""Of the registry, or what the node makes of the answer; before REFUSED, since a connection may be
denied and a snapshot not found."""
REFUSED = (
    r"not found|does not exist|(manifest|name) unknown|invalid reference|no longer supported"
    r"|(?<!permission )denied|unauthorized|forbidden|signature ?validation"
)
NODES_ERROR = (
    r"no space left on device|disk quota exceeded|input/output error|read-only file system"
    r"|too many open files|resource temporarily unavailable|cannot allocate memory"
    r"|stale (nfs )?file handle"
)
"""Errors of the system (errno(3)) that no name in a specification brings about, but a node that is
full or whose disk is broken. Before all that is the user's: the kubelet and the runtime tell them
in one line with the name of the command or of the image."""
NOT_SYNCED = r"failed to sync|timed out|not yet been read"
CAUSE_WITHHELD = r"failed to (create|prepare) subpath"
"""The kubelet keeps to itself what the node's file system answered."""
KILLED_BY_ITS_LIMIT = r"oom-killed"
STILL_AT_IT = r"deadline exceeded|is reserved for"
BROKEN_NODE = (
    r"unable to retrieve oci runtime error|failed to start shim|containerd-shim"
    r"|(running|executing) (\w+ )?hook|nvidia-container-(cli|runtime)"
)
"""Before COMMAND_OR_IMAGE: what the node lacks is told in the same words as what the image lacks,
such as `libnvidia-ml.so.1: no such file` and `exec: "nvidia-container-runtime": executable file not
found`."""
COMMAND_OR_IMAGE = (
    r"\bexec: \\*\"|executable|exec format error|no command specified|chdir"
    r"|the file \S+ was not found|failed to load /|mount a directory onto a file"
)
ANYTHING = r""


@dataclass(frozen=True)
class Obstacle:
    """Why a container does not start, and for how long it is waited for while its pod waits."""

    states: frozenset[str]
    """Reasons of a waiting or terminated container."""
    sign: str
    """Pattern in its message, whatever the case."""
    failure_class: FailureClass
    reason: Reason
    grace: timedelta

    def fits(self, state: str, message: str) -> bool:
        """Whether this is what the container's state tells."""
        return state in self.states and bool(re.search(self.sign, message, re.IGNORECASE))


_INVALID, _INFRASTRUCTURE = FailureClass.INVALID, FailureClass.INFRASTRUCTURE
_IMAGE, _START = Reason.IMAGE_PULL_FAILED, Reason.CONTAINER_CANNOT_START

OBSTACLES = (
    Obstacle(BAD_NAME, ANYTHING, _INVALID, _IMAGE, AT_ONCE),
    Obstacle(NEVER_PULLED, ANYTHING, _INVALID, _IMAGE, TRANSIENT_GRACE),
    Obstacle(PULL, NODES_ERROR, _INFRASTRUCTURE, _IMAGE, TRANSIENT_GRACE),
    Obstacle(PULL, NO_SUCH_REGISTRY, _INVALID, _IMAGE, TRANSIENT_GRACE),
    Obstacle(PULL, NO_ANSWER, _INFRASTRUCTURE, _IMAGE, TRANSIENT_GRACE),
    Obstacle(PULL, REFUSED, _INVALID, _IMAGE, STARTUP_GRACE),
    Obstacle(PULL, ANYTHING, _INFRASTRUCTURE, _IMAGE, TRANSIENT_GRACE),
    Obstacle(CONFIGURATION, NOT_SYNCED, _INFRASTRUCTURE, _START, TRANSIENT_GRACE),
    Obstacle(
        CONFIGURATION, f"{NODES_ERROR}|{CAUSE_WITHHELD}", _INFRASTRUCTURE, _START, STARTUP_GRACE
    ),
    Obstacle(CONFIGURATION, ANYTHING, _INVALID, _START, STARTUP_GRACE),
    Obstacle(
        START, KILLED_BY_ITS_LIMIT, FailureClass.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, STARTUP_GRACE
    ),
    Obstacle(START, STILL_AT_IT, _INFRASTRUCTURE, _START, TRANSIENT_GRACE),
    Obstacle(START, f"{NODES_ERROR}|{BROKEN_NODE}", _INFRASTRUCTURE, _START, STARTUP_GRACE),
    Obstacle(START, COMMAND_OR_IMAGE, _INVALID, _START, STARTUP_GRACE),
    Obstacle(START, ANYTHING, _INFRASTRUCTURE, _START, STARTUP_GRACE),
)
"""The first that fits counts. What names neither the command nor the image is the node's or the
registry's, since to try again costs little, and to give up for good can't be mended."""


def obstacle(state: str | None, message: str | None) -> Obstacle | None:
    """Why a container in this state does not start; None if it may be about to, or has."""
    return next((known for known in OBSTACLES if known.fits(state or "", message or "")), None)
