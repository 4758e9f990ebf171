"""Under which names the workers of a job find each other, and where these lead.

One Service a namespace, for all its jobs: names of pods differ there anyway. It has no selector;
each job has EndpointSlices of our own. Of a Service with one, Kubernetes' controllers write
Endpoints and EndpointSlices anew with each address that a pod gets, and they compare each change of
each pod with all Services of its namespace: with one a job that was, of a thousand jobs at once,
the largest part of what a job cost the cluster.

https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors
"""

from collections.abc import Iterable
from typing import Any

from lepton_operator.api.names import MANAGER
from lepton_operator.reconcile.observed import PodView

Json = dict[str, Any]

SERVICE = "lepton-workers"
"""What the Service is called, and the subdomain of the workers' names."""
RENDEZVOUS_PORT = 29_500
"""torchrun's own default."""
LARGEST_SLICE = 1_000
"""Addresses that the API server takes in one EndpointSlice."""


def host_name(batch_job: str, rank: int) -> str:
    """What an Indexed Job calls the pod of a rank."""
    return f"{batch_job}-{rank}"


def dns_name(batch_job: str, rank: int) -> str:
    """Under which a worker is found within its namespace."""
    return f"{host_name(batch_job, rank)}.{SERVICE}"


def slice_labels() -> dict[str, str]:
    """Whose slices they are, who keeps them, and that kube-proxy has nothing to do for them."""
    return {
        "kubernetes.io/service-name": SERVICE,
        "endpointslice.kubernetes.io/managed-by": MANAGER,
        "service.kubernetes.io/headless": "",
    }


def service_spec() -> Json:
    """The spec of the Service."""
    port = {"name": "rendezvous", "port": RENDEZVOUS_PORT, "targetPort": RENDEZVOUS_PORT}
    return {"clusterIP": "None", "ports": [{**port, "protocol": "TCP"}]}


def slice_names(job: str, workers: int) -> list[str]:
    """What the EndpointSlices of so many workers are called; a job of one has none. Names of jobs
    have no dot, so none of these is another job's."""
    if workers == 1:
        return []
    return [job, *(f"{job}.{n}" for n in range(1, -(-workers // LARGEST_SLICE)))]


def slices(batch_job: str, workers: int, pods: Iterable[PodView]) -> list[Json]:
    """What the EndpointSlices hold beside their metadata; none until every worker of this batch
    Job has an address. A worker is reached before it is ready: that it waits for its peers may be
    why it is not."""
    there = {pod.rank: pod for pod in pods if pod.ip and not (pod.finished or pod.deleting)}
    if there.keys() != set(range(workers)):
        return []
    endpoints = [_endpoint(host_name(batch_job, rank), there[rank]) for rank in range(workers)]
    return [
        {
            "addressType": "IPv6" if ":" in (there[0].ip or "") else "IPv4",
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT, "protocol": "TCP"}],
            "endpoints": endpoints[begin : begin + LARGEST_SLICE],
        }
        for begin in range(0, workers, LARGEST_SLICE)
    ]


def _endpoint(host: str, pod: PodView) -> Json:
    return {
        "addresses": [pod.ip],
        "hostname": host,
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": pod.node,
        "targetRef": {
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        },
    }
