"""What is looked up, how often, and what happens without the right to."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from lepton_operator.app.lookups import Lookups
from lepton_operator.engine.errors import ApiError
from lepton_operator.reconcile.observed import MemoryLimits, NodeView, NoWorkload, Observed
from lepton_operator.reconcile.plan import LookUp, Wait


class Server:
    """Answers lists of two pages, or refuses."""

    def __init__(self, status: int | None = None, **items: list[dict[str, Any]]) -> None:
        self.items = items
        self.status = status
        self.requests: list[str] = []
        self.accepted: set[str] = set()

    async def get(
        self, path: str, params: dict[str, str] | None = None, *, accept: str = "application/json"
    ) -> dict[str, Any]:
        self.requests.append(path)
        self.accepted.add(accept)
        if self.status is not None:
            raise ApiError(self.status, "Refused", "no")
        found = self.items.get(path.rsplit("/", 1)[1], [])
        self.selected = (params or {}).get("labelSelector")
        if params is None:
            if not found:
                raise ApiError(404, "NotFound", "no such object")
            return found[0]
        if "continue" not in params:
            return {"items": found[:1], "metadata": {"continue": "more"}}
        return {"items": found[1:], "metadata": {}}


def answers(server: Server, wanted: LookUp) -> Observed:
    """What is observed after one look-up."""
    lookups = Lookups(server)  # type: ignore[arg-type]
    return asyncio.run(lookups.with_answers(wanted, Observed(), "team"))


def limit_range(memory: str) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": "Container", "max": {"memory": memory}}]}}


def test_limits_of_the_namespace_are_read_page_by_page():
    server = Server(limitranges=[limit_range("3k"), limit_range("2k")])
    assert answers(server, LookUp(limits=True)).limits == MemoryLimits(per_worker=Decimal(2000))
    assert set(server.requests) == {
        "/api/v1/namespaces/team/limitranges",
        "/api/v1/namespaces/team/resourcequotas",
    }


def test_without_the_right_to_see_limits_none_are_known():
    assert answers(Server(status=403), LookUp(limits=True)).limits == MemoryLimits()


def test_nodes_are_listed_and_trimmed():
    server = Server(nodes=[{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}])
    assert answers(server, LookUp(nodes=True)).nodes == (
        NodeView("a", {}, (), {}),
        NodeView("b", {}, (), {}),
    )
    assert set(server.requests) == {"/api/v1/nodes"}
    assert answers(Server(status=403), LookUp(nodes=True)).nodes == ()


def in_region(name: str, region: str | None) -> dict[str, Any]:
    labels = {"topology.kubernetes.io/region": region} if region else {}
    return {"metadata": {"name": name, "labels": labels}}


def test_the_regions_of_few_nodes_are_read_one_by_one_without_what_nodes_say_of_themselves():
    server = Server(a=[in_region("a", "north")], b=[in_region("b", None)])
    found = answers(server, LookUp(regions_of=frozenset("abc"))).regions
    assert found == {"a": "north", "b": None, "c": None}
    assert server.requests == ["/api/v1/nodes/a", "/api/v1/nodes/b", "/api/v1/nodes/c"]
    assert all("as=PartialObjectMetadata;" in accept for accept in server.accepted)


def test_the_regions_of_many_nodes_are_read_with_one_list():
    names = [f"node-{n}" for n in range(40)]
    server = Server(nodes=[in_region(name, "south") for name in [*names, "other"]])
    found = answers(server, LookUp(regions_of=frozenset(names))).regions
    assert found == dict.fromkeys(names, "south")
    assert server.requests == ["/api/v1/nodes"] * 2
    assert all("as=PartialObjectMetadataList;" in accept for accept in server.accepted)


def test_without_the_right_to_see_nodes_no_region_is_known():
    wanted = LookUp(regions_of=frozenset("a"))
    assert answers(Server(status=403), wanted).regions == {"a": None}


def test_pods_are_looked_up_by_the_name_of_their_job():
    def found(name):
        return {"metadata": {"namespace": "team", "name": name, "uid": name}}

    server = Server(pods=[found("a"), found("b")])
    seen = answers(server, LookUp(pods_of="job"))
    assert ([pod.name for pod in seen.pods], seen.pods_looked_up) == (["a", "b"], True)
    assert server.selected == "training.lepton.ai/job-name=job"


def test_a_batch_job_is_looked_up_by_its_name_and_may_not_be_there():
    found = {"metadata": {"namespace": "team", "name": "job-1", "uid": "u", "resourceVersion": "7"}}
    (view,) = answers(Server(**{"job-1": [found]}), LookUp(job="job-1")).looked_up_job
    assert view.name == "job-1"
    assert answers(Server(), LookUp(job="job-1")).looked_up_job == ()
    with pytest.raises(ApiError):
        answers(Server(status=503), LookUp(job="job-1"))


def test_an_api_server_that_does_not_answer_is_asked_again_later():
    with pytest.raises(ApiError):
        answers(Server(status=503), LookUp(limits=True))


# Kueue


KUEUE = {
    "kueue.x-k8s.io": [{"preferredVersion": {"version": "v1beta2"}}],
    "workloads": [{"metadata": {"ownerReferences": [{"uid": "u"}]}, "status": {}}],
}
GROUP = "/apis/kueue.x-k8s.io"
WORKLOADS = f"{GROUP}/v1beta2/namespaces/team/workloads"


class Clock:
    """Seconds that pass when they are told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def asking(server: Server) -> tuple[Clock, Callable[..., Any]]:
    """A clock, and what Kueue says of a Job at its time."""
    clock = Clock()
    lookups = Lookups(server, clock)  # type: ignore[arg-type]

    def ask(uid: str = "u", since: datetime = SINCE) -> Any:
        wanted = LookUp(wait=Wait(uid, since))
        return asyncio.run(lookups.with_answers(wanted, Observed(), "team")).workload

    return clock, ask


def test_workloads_of_kueue_are_read_by_their_jobs_uid_in_the_version_that_is_preferred():
    server = Server(**KUEUE)
    _, ask = asking(server)
    assert ask().conditions == {}
    assert server.requests == [GROUP, WORKLOADS]
    assert server.selected == "kueue.x-k8s.io/job-uid=u"
    assert ask("another") is NoWorkload.NOT_MADE
    assert server.requests == [GROUP, WORKLOADS, WORKLOADS]


def test_kueue_is_asked_of_one_job_at_most_every_30_seconds():
    server = Server(**KUEUE)
    clock, ask = asking(server)
    for clock.now in (1000, 1001, 1029):
        ask()
    assert server.requests.count(WORKLOADS) == 1
    clock.now = 1030
    ask()
    assert server.requests.count(WORKLOADS) == 2


def test_what_was_said_of_an_earlier_wait_is_not_said_of_the_next():
    server = Server(**KUEUE)
    _, ask = asking(server)
    ask()
    server.items["workloads"] = []
    assert ask() is not NoWorkload.NOT_MADE
    assert ask(since=SINCE + timedelta(seconds=20)) is NoWorkload.NOT_MADE


@pytest.mark.parametrize("status", [403, 404, 500])
def test_without_an_answer_of_kueue_nothing_is_known_and_nothing_is_held_up(status):
    server = Server(**KUEUE)
    clock, ask = asking(server)
    ask()
    server.status = status
    clock.now += 30
    assert [ask(), ask()] == [NoWorkload.NOT_READABLE] * 2
    assert server.requests == [GROUP, WORKLOADS, WORKLOADS]


def test_a_version_of_kueue_that_is_served_no_more_is_looked_for_anew():
    server = Server(**KUEUE)
    clock, ask = asking(server)
    ask()
    for server.status in (404, None):
        clock.now += 30
        ask()
    assert server.requests == [GROUP, WORKLOADS, WORKLOADS, GROUP, WORKLOADS]
