"""Writes under refusals, overload, lost answers and lost leadership."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.effects import Conflict, Effects, NameTaken, NotLeader, Refused
from lepton_operator.engine.recorder import shorten

EVENTS_PATH = "/apis/events.k8s.io/v1/namespaces/default/events"
OWNER = {"apiVersion": "v1", "kind": "Boss", "name": "boss", "uid": "u1", "controller": True}


class Requests:
    def __init__(self) -> None:
        self.codes: list[tuple[str, str, int]] = []

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        self.codes.append((verb, resource, code))


@pytest.fixture
def metrics() -> Requests:
    return Requests()


@pytest.fixture
def make(client: Client, clock: Any, metrics: Requests) -> Callable[..., Effects]:
    def make(**options: Any) -> Effects:
        defaults = {
            "is_leader": lambda: True,
            "metrics": metrics,
            "clock": clock,
            "sleep": clock.sleep,
        }
        return Effects(client, **{**defaults, **options})

    return make


@pytest.fixture
def effects(make: Callable[..., Effects]) -> Effects:
    return make()


def manifest(owner: str = "u1", **content: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {
            "namespace": "default",
            "name": "thing",
            "ownerReferences": [{**OWNER, "uid": owner}],
        },
        **content,
    }


def committing_and_cutting(api: Any, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """The request takes effect, something else may happen, and the answer is lost."""

    async def hook(request: Any) -> Any:
        await api.answer(request)
        meanwhile()
        request.transport.close()

    return hook


async def test_a_create_whose_answer_was_lost_makes_one_object(
    api: Any, effects: Effects, kit: Any, metrics: Requests
) -> None:
    api.once(committing_and_cutting(api))
    created = await effects.create(kit.THINGS, manifest())
    assert created["metadata"]["uid"] == "uid-1"
    assert len(api.objects) == 1
    assert metrics.codes == [("create", "things", 0), ("create", "things", 409)]


async def test_a_name_that_belongs_to_another_is_told_with_its_owner(
    effects: Effects, kit: Any
) -> None:
    await effects.create(kit.THINGS, manifest(owner="u2"))
    with pytest.raises(NameTaken, match="Thing thing exists already and belongs to Boss boss"):
        await effects.create(kit.THINGS, manifest())


async def test_a_name_that_belongs_to_nobody_is_not_taken_over(
    api: Any, effects: Effects, kit: Any
) -> None:
    api.put(kit.path("thing"))
    with pytest.raises(NameTaken, match="belongs to nobody"):
        await effects.create(kit.THINGS, manifest())


def shared() -> dict[str, Any]:
    """A manifest that several make, and of which none is the owner."""
    marks = {"labels": {"made-by": "us"}, "annotations": {"hash": "1"}}
    return {"metadata": {"namespace": "default", "name": "thing", **marks}}


async def test_what_is_shared_is_made_once_and_keeps_its_labels(
    api: Any, effects: Effects, kit: Any
) -> None:
    first = await effects.create(kit.THINGS, shared())
    assert await effects.create(kit.THINGS, shared()) == first
    assert api.count("PATCH") == 0
    del api.objects[kit.path("thing")]["metadata"]["labels"]
    await effects.create(kit.THINGS, shared())
    assert api.requests[-1][0] == "PATCH"
    assert api.bodies[-1] == {"metadata": {"uid": "uid-1", "labels": {"made-by": "us"}}}


@pytest.mark.parametrize("owner", ["u2", None])
async def test_a_shared_name_that_is_anothers_is_told(
    api: Any, effects: Effects, kit: Any, owner: str | None
) -> None:
    if owner is None:
        api.put(kit.path("thing"))
    else:
        await effects.create(kit.THINGS, manifest(owner=owner))
    with pytest.raises(NameTaken, match="Thing thing exists already"):
        await effects.create(kit.THINGS, shared())


async def test_retry_after_is_honoured(
    api: Any, effects: Effects, kit: Any, clock: Any, metrics: Requests
) -> None:
    api.once(kit.refusing(429, "TooManyRequests", retryAfterSeconds=7))
    api.once(kit.refusing(503, "ServiceUnavailable", retryAfterSeconds=3))
    await effects.create(kit.THINGS, manifest())
    assert len(clock.slept) == 2
    assert clock.slept[0] >= 7
    assert clock.slept[1] >= 3
    assert [code for _, _, code in metrics.codes] == [429, 503, 200]


async def test_what_asks_for_more_time_than_there_is_fails_at_once(
    api: Any, effects: Effects, kit: Any, clock: Any
) -> None:
    api.once(kit.refusing(429, "TooManyRequests", retryAfterSeconds=60))
    with pytest.raises(ApiError, match="429"):
        await effects.create(kit.THINGS, manifest())
    assert clock.slept == []


async def test_a_server_that_is_down_is_tried_for_a_limited_time(clock: Any, kit: Any) -> None:
    client = Client("http://127.0.0.1:1")
    effects = Effects(client, is_leader=lambda: True, clock=clock, sleep=clock.sleep)
    with pytest.raises(ApiError) as raised:
        await effects.apply(kit.THINGS, manifest(), "me")
    assert raised.value.status == 0
    assert 20 < sum(clock.slept) <= 30
    await client.close()


async def test_a_broken_answer_is_tried_three_times(api: Any, effects: Effects, kit: Any) -> None:
    for _ in range(3):
        api.once(kit.refusing(500, "InternalError", "failed calling webhook"))
    with pytest.raises(ApiError, match="failed calling webhook"):
        await effects.create(kit.THINGS, manifest())
    assert api.count("POST") == 3


@pytest.mark.parametrize(
    ("code", "reason", "text", "permanent"),
    [
        (422, "Invalid", "spec.replicas: Invalid value: -1", True),
        (400, "BadRequest", 'Job in version "v1" cannot be handled as a Job: json: cannot', True),
        (403, "Forbidden", "exceeded quota: pods", False),
        (400, "BadRequest", 'admission webhook "a" denied the request: no', False),
    ],
)
async def test_a_refusal_is_raised_at_once_with_its_message(
    api: Any, effects: Effects, kit: Any, code: int, reason: str, text: str, permanent: bool
) -> None:
    api.once(kit.refusing(code, reason, text))
    with pytest.raises(Refused, match=re.escape(text)) as raised:
        await effects.create(kit.THINGS, manifest())
    assert raised.value.permanent is permanent
    assert api.count("POST") == 1


async def test_a_terminating_namespace_is_recognised(api: Any, effects: Effects, kit: Any) -> None:
    causes = [{"reason": "NamespaceTerminating"}]
    api.once(kit.refusing(403, "Forbidden", "is being terminated", causes=causes))
    with pytest.raises(Refused) as raised:
        await effects.create(kit.THINGS, manifest())
    assert raised.value.namespace_terminating


async def test_nothing_is_sent_without_leadership(
    api: Any, make: Callable[..., Effects], kit: Any
) -> None:
    effects = make(is_leader=lambda: False)
    for write in (
        effects.create(kit.THINGS, manifest()),
        effects.apply(kit.THINGS, manifest(), "me"),
        effects.delete(kit.THINGS, "default", "thing", "u"),
        effects.patch_status(kit.THINGS, "default", "thing", "1", {}),
    ):
        with pytest.raises(NotLeader):
            await write
    await effects.event(manifest(), "Normal", "Reason", "note", "Action")
    assert api.requests == []


async def test_leadership_lost_between_two_attempts_ends_the_write(
    api: Any, make: Callable[..., Effects], kit: Any
) -> None:
    leads = iter([True, False])
    effects = make(is_leader=lambda: next(leads))
    api.once(kit.refusing(503, "ServiceUnavailable"))
    with pytest.raises(NotLeader):
        await effects.create(kit.THINGS, manifest())
    assert api.count("POST") == 1


async def test_leadership_is_asked_for_after_waiting_for_a_token(
    api: Any, make: Callable[..., Effects], kit: Any, clock: Any
) -> None:
    effects = make(rate=1, burst=1, is_leader=lambda: clock.now < 1000.5)
    await effects.create(kit.THINGS, manifest())
    with pytest.raises(NotLeader):
        await effects.apply(kit.THINGS, manifest(), "me")
    assert api.count("PATCH") == 0


async def test_no_more_writes_are_under_way_at_once_than_allowed(
    api: Any, make: Callable[..., Effects], kit: Any
) -> None:
    go = asyncio.Event()

    async def wait(_: Any) -> None:
        await go.wait()

    effects = make(in_flight=2)
    for _ in range(5):
        api.once(wait)
    writes = [
        asyncio.create_task(effects.delete(kit.THINGS, "default", f"t{n}", "u")) for n in range(5)
    ]
    await kit.until(lambda: len(api.requests) == 2)
    await asyncio.sleep(0.02)
    assert len(api.requests) == 2
    go.set()
    await asyncio.gather(*writes)
    assert len(api.requests) == 5


async def test_deleting_what_is_gone_or_another_is_a_success(
    api: Any, effects: Effects, kit: Any
) -> None:
    assert await effects.delete(kit.THINGS, "default", "thing", "uid-0") is None
    api.put(kit.path("thing"))
    assert await effects.delete(kit.THINGS, "default", "thing", "uid-0") is None
    assert kit.path("thing") in api.objects
    assert await effects.delete(kit.THINGS, "default", "thing", "uid-1") is None
    assert api.objects == {}
    assert api.bodies[-1]["propagationPolicy"] == "Background"


async def test_what_has_changed_is_not_deleted_but_returned_as_it_is_now(
    api: Any, effects: Effects, kit: Any
) -> None:
    thing = api.put(kit.path("thing"))
    seen = thing["metadata"]["resourceVersion"]
    now = api.put(kit.path("thing"), status={"phase": "B"})
    assert await effects.delete(kit.THINGS, "default", "thing", "uid-1", seen) == now
    assert kit.path("thing") in api.objects
    version = now["metadata"]["resourceVersion"]
    assert await effects.delete(kit.THINGS, "default", "thing", "uid-1", version) is None
    assert api.objects == {}


async def test_deleting_returns_what_still_terminates(api: Any, effects: Effects, kit: Any) -> None:
    thing = api.put(kit.path("thing"))

    async def terminating(_: Any) -> Any:
        return web.json_response({**thing, "kind": "Thing"})

    api.once(terminating)
    answer = await effects.delete(kit.THINGS, "default", "thing", "uid-1")
    assert answer is not None
    assert answer["metadata"]["uid"] == "uid-1"


async def test_a_status_is_written_to_the_version_that_was_read_or_not_at_all(
    api: Any, effects: Effects, kit: Any
) -> None:
    thing = api.put(kit.path("thing"))
    version = thing["metadata"]["resourceVersion"]
    answer = await effects.patch_status(kit.THINGS, "default", "thing", version, {"phase": "A"})
    assert answer["status"] == {"phase": "A"}
    assert api.requests[-1] == ("PATCH", kit.path("thing") + "/status")
    assert api.headers[-1]["Content-Type"] == "application/merge-patch+json"
    with pytest.raises(Conflict):
        await effects.patch_status(kit.THINGS, "default", "thing", version, {"phase": "B"})
    assert api.objects[kit.path("thing")]["status"] == {"phase": "A"}


async def test_a_status_write_whose_answer_was_lost_has_succeeded(
    api: Any, effects: Effects, kit: Any, metrics: Requests
) -> None:
    thing = api.put(kit.path("thing"), status={"phase": "A", "old": 1})
    version = thing["metadata"]["resourceVersion"]

    def edit() -> None:
        api.put(kit.path("thing"), **{**api.objects[kit.path("thing")], "spec": {"edited": True}})

    api.once(committing_and_cutting(api, edit))
    patch = {"phase": "B", "old": None}
    answer = await effects.patch_status(kit.THINGS, "default", "thing", version, patch)
    assert answer["status"]["phase"] == "B"
    assert answer["spec"] == {"edited": True}
    assert [code for _, _, code in metrics.codes] == [0, 409]


async def test_a_status_write_that_never_arrived_conflicts_with_the_one_that_did(
    api: Any, effects: Effects, kit: Any
) -> None:
    thing = api.put(kit.path("thing"), status={"phase": "A"})
    version = thing["metadata"]["resourceVersion"]

    async def cut(request: Any) -> None:
        api.put(kit.path("thing"), status={"phase": "A"}, spec={"edited": True})
        request.transport.close()

    api.once(cut)
    with pytest.raises(Conflict):
        await effects.patch_status(kit.THINGS, "default", "thing", version, {"phase": "B"})
    assert api.objects[kit.path("thing")]["status"] == {"phase": "A"}


async def test_an_apply_is_forced_and_names_its_manager(
    api: Any, effects: Effects, kit: Any
) -> None:
    api.put(kit.path("thing"))
    await effects.apply(kit.THINGS, manifest(), "lepton")
    assert api.requests[-1][1].endswith("/things/thing?fieldManager=lepton&force=true")
    assert api.headers[-1]["Content-Type"] == "application/apply-patch+yaml"


async def test_the_same_event_is_sent_once_in_ten_minutes(
    api: Any, effects: Effects, clock: Any
) -> None:
    for _ in range(3):
        await effects.event(manifest(), "Warning", "Failed", "note", "Reconcile")
    await effects.event(manifest(), "Warning", "Failed", "another note", "Reconcile")
    assert api.count("POST", EVENTS_PATH) == 2
    sent = api.bodies[0]
    assert (sent["type"], sent["reason"], sent["note"]) == ("Warning", "Failed", "note")
    assert sent["regarding"]["name"] == "thing"
    assert sent["eventTime"].endswith("Z")
    clock.advance(601)
    await effects.event(manifest(), "Warning", "Failed", "note", "Reconcile")
    assert api.count("POST", EVENTS_PATH) == 3


async def test_an_event_never_raises_and_is_tried_once(
    api: Any, effects: Effects, kit: Any
) -> None:
    api.once(kit.refusing(403, "Forbidden"))
    await effects.event(manifest(), "Normal", "One", "note", "Action")
    api.once(kit.refusing(500, "InternalError"))
    await effects.event(manifest(), "Normal", "Two", "note", "Action")
    assert api.count("POST") == 2


async def test_too_many_events_are_dropped_and_hold_up_no_writes(
    api: Any, effects: Effects, kit: Any, clock: Any
) -> None:
    for n in range(150):
        await effects.event(manifest(), "Normal", "Reason", f"note {n}", "Action")
    assert api.count("POST") == 100
    await effects.create(kit.THINGS, manifest())
    assert clock.slept == []


@pytest.mark.parametrize("text", ["a" * 1024, "ä" * 2000, "€" * 500, "a" + "ä" * 1000])
def test_a_note_fits_into_its_bytes(text: str) -> None:
    short = shorten(text, 1024)
    assert len(short.encode()) <= 1024
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


async def test_an_object_of_ours_that_lost_its_labels_gets_them_back(
    api: Any, effects: Effects, kit: Any
) -> None:
    await effects.create(kit.THINGS, manifest())
    wanted = manifest()
    wanted["metadata"]["labels"] = {"managed-by": "me"}
    await effects.create(kit.THINGS, wanted)
    assert api.requests[-1][0] == "PATCH"
    assert api.bodies[-1] == {"metadata": {"uid": "uid-1", "labels": {"managed-by": "me"}}}
