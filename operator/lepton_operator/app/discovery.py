"""Which of those who start all workers or none the API server offers; asked once, at the start."""

from lepton_operator.api import names
from lepton_operator.api.scheduling import Gang
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.resources import Resource
from lepton_operator.reconcile.gangs import POD_GROUPS

KUEUE_GROUP = "kueue.x-k8s.io"
PATHS = {
    **{gang: (f"/apis/{version}", "podgroups") for gang, version in POD_GROUPS.items()},
    Gang.KUEUE: (f"/apis/{KUEUE_GROUP}", None),
}
"""Where each one's API is described, and the resource that is needed there. Kueue only has to be
there, in whatever version."""


async def offered_gangs(client: Client) -> frozenset[Gang]:
    """Whose API is there. Raises ApiError when the server does not answer."""
    return frozenset([gang for gang in PATHS if await _offers(client, *PATHS[gang])])


async def kueues_workloads(client: Client) -> Resource:
    """Workloads in the version that the API server prefers: v1beta2 from Kueue 0.15 on, v1beta1
    before. Raises ApiError where there is no Kueue."""
    group = await client.get(f"/apis/{KUEUE_GROUP}")
    return Resource(KUEUE_GROUP, group["preferredVersion"]["version"], "workloads", "Workload")


async def require_training_jobs(client: Client) -> None:
    """Raises ApiError while the API server does not serve our own kind: kopf looks once, and would
    watch nothing for ever."""
    if not await _offers(client, f"/apis/{names.API_VERSION}", names.PLURAL):
        text = f"{names.PLURAL}.{names.GROUP} is not served: install its CustomResourceDefinition"
        raise ApiError(404, "NotFound", text)


async def _offers(client: Client, path: str, resource: str | None) -> bool:
    try:
        answer = await client.get(path)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return resource is None or any(
        found.get("name") == resource for found in answer.get("resources") or ()
    )
