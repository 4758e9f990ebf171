"""The kinds of object that the operator reads and writes."""

from lepton_operator.api import names
from lepton_operator.engine.resources import Resource

TRAINING_JOBS = Resource(names.GROUP, names.VERSION, names.PLURAL, names.KIND)
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
LIMIT_RANGES = Resource("", "v1", "limitranges", "LimitRange")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")

BY_KIND = {resource.kind: resource for resource in (TRAINING_JOBS, JOBS, SERVICES, CLAIMS)}
"""The kinds that plans name."""
