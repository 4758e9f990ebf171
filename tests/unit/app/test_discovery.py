"""Which gangs there are, by what the API server says of itself."""

import asyncio
from typing import Any

import pytest

from lepton_operator.api.scheduling import Gang
from lepton_operator.app.discovery import offered_gangs, require_training_jobs
from lepton_operator.engine.errors import ApiError


class Server:
    """A stand-in that knows a few API groups."""

    def __init__(self, status: int = 404) -> None:
        self.status = status
        self.groups: dict[str, list[str]] = {}

    async def get(self, path: str) -> dict[str, Any]:
        found = self.groups.get(path.removeprefix("/apis/"))
        if found is None:
            raise ApiError(self.status, "NotFound", "no")
        return {"resources": [{"name": name} for name in found]}


def offered(server: Server) -> frozenset[Gang]:
    return asyncio.run(offered_gangs(server))  # type: ignore[arg-type]


def test_without_our_own_kind_there_is_nothing_to_start_for():
    server = Server()
    with pytest.raises(ApiError, match="install its CustomResourceDefinition"):
        asyncio.run(require_training_jobs(server))
    server.groups = {"training.lepton.ai/v1alpha1": ["leptontrainingjobs"]}
    asyncio.run(require_training_jobs(server))


def test_a_plain_cluster_offers_none():
    assert offered(Server()) == frozenset()


def test_a_group_without_pod_groups_is_none():
    server = Server()
    server.groups = {"scheduling.k8s.io/v1beta1": ["workloads", "podgroups/status"]}
    assert offered(server) == frozenset()
    server.groups = {"scheduling.k8s.io/v1beta1": ["podgroups", "podgroups/status"]}
    assert offered(server) == {Gang.NATIVE}


def test_all_that_are_installed_are_found():
    server = Server()
    server.groups = {
        "scheduling.x-k8s.io/v1alpha1": ["podgroups"],
        "scheduling.volcano.sh/v1beta1": ["podgroups", "queues"],
        "kueue.x-k8s.io": [],
    }
    assert offered(server) == {Gang.COSCHEDULING, Gang.VOLCANO, Gang.KUEUE}


def test_an_api_server_that_does_not_answer_is_no_answer():
    with pytest.raises(ApiError):
        offered(Server(status=503))
