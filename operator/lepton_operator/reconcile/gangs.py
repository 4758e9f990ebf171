"""Who starts all workers or none, and what each of them is to be told by.

Contracts: Kubernetes' KEP-4671; https://kueue.sigs.k8s.io/docs/tasks/run/jobs/;
https://scheduler-plugins.sigs.k8s.io/docs/plugins/coscheduling/;
https://volcano.sh/en/docs/podgroup/.
"""

from collections.abc import Mapping
from typing import Any

from lepton_operator.api.scheduling import Gang
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.reconcile.settings import Settings

Json = dict[str, Any]

POD_GROUPS: Mapping[Gang, str] = {
    Gang.NATIVE: "scheduling.k8s.io/v1beta1",
    Gang.COSCHEDULING: "scheduling.x-k8s.io/v1alpha1",
    Gang.VOLCANO: "scheduling.volcano.sh/v1beta1",
}
"""API version of each one's PodGroup; Kueue needs none."""
SCHEDULERS = {Gang.COSCHEDULING: "scheduler-plugins-scheduler", Gang.VOLCANO: "volcano"}
"""Names of their schedulers, as their own charts install them."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
COSCHEDULING_LABEL = "scheduling.x-k8s.io/pod-group"
VOLCANO_ANNOTATION = "scheduling.k8s.io/group-name"


def chosen(spec: LeptonTrainingJobSpec, settings: Settings) -> Gang:
    """Who starts the workers of this job. One pod is a whole by itself, but may want a queue."""
    wanted = spec.scheduling.gang
    if wanted in (Gang.KUEUE, Gang.VOLCANO):
        return wanted
    if spec.workers == 1:
        return Gang.NONE
    if wanted is None:
        return Gang.NATIVE if Gang.NATIVE in settings.gangs else Gang.NONE
    return wanted


def problem(spec: LeptonTrainingJobSpec, settings: Settings) -> str | None:
    """Why nobody here would start the workers; without it they would wait for ever."""
    gang = chosen(spec, settings)
    if gang is Gang.NONE or gang in settings.gangs:
        return None
    what = f"PodGroup of {POD_GROUPS[gang]}" if gang in POD_GROUPS else "Workload of kueue.x-k8s.io"
    return (
        f"spec.scheduling.gang: {gang} is not there: when the operator started, the API server"
        f" offered no {what}; install it and restart the operator, or choose another gang"
    )


def holds(spec: LeptonTrainingJobSpec) -> bool:
    """Whether another controller decides when the Job runs, so that it is not ours to start."""
    return spec.scheduling.gang is Gang.KUEUE


def pod_group(spec: LeptonTrainingJobSpec, gang: Gang) -> Json | None:
    """The group of an attempt's pods, but for its metadata; None where there is none."""
    match gang:
        case Gang.NATIVE:
            wanted: Json = {"schedulingPolicy": {"gang": {"minCount": spec.workers}}}
            if spec.scheduling.priority_class_name is not None:
                # That of the pods, or the scheduler takes none of them.
                wanted["priorityClassName"] = spec.scheduling.priority_class_name
        case Gang.COSCHEDULING:
            wanted = {"minMember": spec.workers}
        case Gang.VOLCANO:
            wanted = {"minMember": spec.workers}
            if spec.scheduling.queue is not None:
                wanted["queue"] = spec.scheduling.queue
            if spec.scheduling.priority_class_name is not None:
                wanted["priorityClassName"] = spec.scheduling.priority_class_name
        case _:
            return None
    return {"apiVersion": POD_GROUPS[gang], "kind": "PodGroup", "spec": wanted}


def pod_fields(gang: Gang, group: str) -> Json:
    """What makes a pod one of the group of this name."""
    fields: Json = {}
    if gang is Gang.NATIVE:
        fields["schedulingGroup"] = {"podGroupName": group}
    if gang in SCHEDULERS:
        fields["schedulerName"] = SCHEDULERS[gang]
    return fields


def pod_labels(gang: Gang, group: str) -> dict[str, str]:
    """Labels that make a pod one of the group."""
    return {COSCHEDULING_LABEL: group} if gang is Gang.COSCHEDULING else {}


def pod_annotations(gang: Gang, group: str) -> dict[str, str]:
    """Annotations that make a pod one of the group."""
    return {VOLCANO_ANNOTATION: group} if gang is Gang.VOLCANO else {}


def job_labels(spec: LeptonTrainingJobSpec) -> dict[str, str]:
    """Labels by which Kueue finds the Job."""
    queue = spec.scheduling.queue
    return {QUEUE_LABEL: queue} if holds(spec) and queue is not None else {}
