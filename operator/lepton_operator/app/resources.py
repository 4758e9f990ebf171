"""The kinds of object that the operator reads and writes."""

from lepton_operator.api import names
from lepton_operator.engine.resources import Resource
from lepton_operator.reconcile import gangs

TRAINING_JOBS = Resource(names.GROUP, names.VERSION, names.PLURAL, names.KIND)
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
POD_GROUPS = {
    gang: Resource(group, version, "podgroups", "PodGroup")
    for gang, (group, version) in (
        (gang, api_version.split("/")) for gang, api_version in gangs.POD_GROUPS.items()
    )
}
POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")

BY_KIND = {
    resource.kind: resource
    for resource in (TRAINING_JOBS, JOBS, SERVICES, SLICES, CLAIMS, POLICIES)
}
"""The kinds that plans name, but for PodGroups."""


def resource_of(kind: str, api_version: str | None = None) -> Resource:
    """What a plan names by its kind, and by its version where several groups have this kind."""
    versions = {resource.api_version: resource for resource in POD_GROUPS.values()}
    return versions[api_version or ""] if kind == "PodGroup" else BY_KIND[kind]
