"""The reflector under everything that a watch can suffer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lepton_operator.engine import reflector as module
from lepton_operator.engine.client import Client
from lepton_operator.engine.reflector import Reflector

Changes = list[tuple[Any, Any]]
Start = Callable[..., tuple[Reflector[Any], Changes]]


def trim(raw: dict[str, Any]) -> tuple[str, Any]:
    if raw.get("value") == "poison":
        raise ValueError("can't be read")
    return raw["metadata"]["name"], raw.get("value")


@pytest.fixture
async def start(client: Client, kit: Any) -> AsyncIterator[Start]:
    tasks: list[asyncio.Task[None]] = []

    def run(**options: Any) -> tuple[Reflector[Any], Changes]:
        changes: Changes = []
        reflector = Reflector(
            client,
            kit.THINGS,
            trim,
            on_change=lambda old, new: changes.append((old, new)),
            **{"namespace": "default", "backoff": (0.01, 0.05), **options},
        )
        tasks.append(asyncio.create_task(reflector.run()))
        return reflector, changes

    yield run
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_list_in_pages_and_the_events_after_it_fill_the_store(
    api: Any, kit: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    for n in range(5):
        api.put(kit.path(f"thing-{n}"), value=n)
    reflector, changes = start(index=lambda item: item[1] % 2)
    await reflector.wait_synced()
    assert len(reflector.store) == len(changes) == 5
    assert api.count("GET", "limit=2") == 3
    assert all("resourceVersion" not in path for _, path in api.requests[:3])

    api.put(kit.path("thing-0"), value=1)
    api.remove(kit.path("thing-4"))
    api.put(kit.path("thing-5"), value=8)
    await kit.until(lambda: len(changes) == 8)
    assert reflector.store.get("default", "thing-0") == ("thing-0", 1)
    assert reflector.store.get("default", "thing-4") is None
    assert changes[5:] == [
        (("thing-0", 0), ("thing-0", 1)),
        (("thing-4", 4), None),
        (None, ("thing-5", 8)),
    ]
    assert {name for name, _ in reflector.store.by_index(1)} == {"thing-0", "thing-1", "thing-3"}
    assert {name for name, _ in reflector.store.by_index(0)} == {"thing-2", "thing-5"}


async def test_a_watch_cut_in_mid_line_resumes_from_the_last_version_without_a_list(
    api: Any, kit: Any, start: Start
) -> None:
    first = api.put(kit.path("first"), value=1)
    second = {**first, "metadata": {**first["metadata"], "name": "second", "uid": "2"}}

    async def cut(request: Any) -> Any:
        api.put(kit.path("second"), value=1)
        cutting = kit.streaming(kit.line("ADDED", second)[:-20], cut=True)
        return await cutting(request)

    async def listed(_: Any) -> None:
        api.once(cut)

    api.once(listed)
    reflector, changes = start()
    await kit.until(lambda: len(changes) == 2)
    assert reflector.lists == 1
    assert [new for _, new in changes] == [("first", 1), ("second", 1)]


async def test_after_410_a_list_replaces_and_what_is_gone_is_reported(
    api: Any, kit: Any, start: Start
) -> None:
    api.put(kit.path("stays"), value=1)
    api.put(kit.path("goes"), value=1)
    api.put(kit.path("changes"), value=1)
    hold = asyncio.Event()
    watching = asyncio.Event()

    async def blind(request: Any) -> Any:
        watching.set()
        return await kit.streaming(then=hold.wait(), cut=True)(request)

    async def listed(_: Any) -> None:
        api.once(blind)

    api.once(listed)
    reflector, changes = start()
    await watching.wait()
    changes.clear()
    api.remove(kit.path("goes"))
    api.put(kit.path("changes"), value=2)
    api.put(kit.path("came-and-went"))
    api.remove(kit.path("came-and-went"))
    api.put(kit.path("comes"), value=1)
    api.compact()
    hold.set()
    await kit.until(lambda: reflector.lists == 2 and len(changes) == 3)
    assert set(changes) == {
        (("goes", 1), None),
        (("changes", 1), ("changes", 2)),
        (None, ("comes", 1)),
    }


async def test_an_error_event_that_is_no_410_resumes_and_410_in_band_lists(
    api: Any, kit: Any, start: Start
) -> None:
    async def listed(_: Any) -> None:
        api.once(kit.streaming(kit.line("ERROR", kit.status(500, "InternalError", "oh"))))
        api.once(kit.streaming(kit.line("ERROR", kit.status(410, "Expired"))))

    api.once(listed)
    reflector, changes = start()
    await kit.until(lambda: reflector.lists == 2 and api.watching)
    api.put(kit.path("thing"), value=1)
    await kit.until(lambda: changes)
    assert reflector.last_error is None


async def test_errors_in_band_that_go_on_lead_to_a_list(api: Any, kit: Any, start: Start) -> None:
    async def listed(_: Any) -> None:
        for _ in range(module.FAILURES_UNTIL_LIST):
            api.once(kit.streaming(kit.line("ERROR", kit.status(500, "InternalError", "oh"))))

    api.once(listed)
    reflector, _ = start()
    await kit.until(lambda: reflector.lists == 2 and api.watching)


async def test_a_watch_that_stalls_with_its_connection_open_is_noticed(
    api: Any, kit: Any, start: Start
) -> None:
    never = asyncio.Event()

    async def listed(_: Any) -> None:
        api.once(kit.streaming(then=never.wait()))

    api.once(listed)
    reflector, changes = start(idle_seconds=0.05)
    await reflector.wait_synced()
    api.put(kit.path("thing"), value=1)
    await kit.until(lambda: changes)
    assert reflector.lists == 1
    assert reflector.watches > 1
    never.set()


async def test_access_denied_is_retried_and_told_until_it_is_granted(
    api: Any, kit: Any, start: Start
) -> None:
    granted = asyncio.Event()

    async def deny(request: Any) -> Any:
        if granted.is_set():
            return None
        api.once(deny)
        return await kit.refusing(403, "Forbidden", "things is forbidden")(request)

    api.once(deny)
    reflector, _ = start()
    await kit.until(lambda: reflector.last_error)
    assert "things is forbidden" in str(reflector.last_error)
    assert not reflector.synced
    granted.set()
    await reflector.wait_synced()
    assert reflector.last_error is None


async def test_duplicated_and_reordered_events_do_not_take_the_store_back(
    api: Any, kit: Any, start: Start
) -> None:
    one = api.put(kit.path("thing"), value=1)
    two = api.put(kit.path("thing"), value=2)
    gone = {**one, "metadata": {**one["metadata"], "name": "gone", "uid": "g"}}
    deleted = {**gone, "metadata": {**gone["metadata"], "resourceVersion": "1000"}}
    done = {**one, "metadata": {**one["metadata"], "name": "done", "resourceVersion": "1001"}}

    async def listed(_: Any) -> None:
        api.once(
            kit.streaming(
                kit.line("MODIFIED", two) + kit.line("MODIFIED", one) + kit.line("MODIFIED", two),
                kit.line("DELETED", deleted) + kit.line("ADDED", gone),
                kit.line("ADDED", done),
                then=asyncio.Event().wait(),
            )
        )

    api.once(listed)
    reflector, changes = start()
    await kit.until(lambda: reflector.store.get("default", "done"))
    assert reflector.store.get("default", "thing") == ("thing", 2)
    assert reflector.store.get("default", "gone") is None
    assert len(changes) == 2


async def test_bookmarks_move_the_version_that_a_watch_resumes_from(
    api: Any, kit: Any, start: Start
) -> None:
    async def listed(_: Any) -> None:
        bookmark = {"kind": "Thing", "metadata": {"resourceVersion": "5000"}}
        api.once(kit.streaming(kit.line("BOOKMARK", bookmark)))

    api.once(listed)
    start()
    await kit.until(lambda: api.count("GET", "resourceVersion=5000"))
    assert api.count("GET", "allowWatchBookmarks=true") >= 2


async def test_an_object_that_cannot_be_read_does_not_stop_the_others(
    api: Any, kit: Any, start: Start
) -> None:
    api.put(kit.path("bad"), value="poison")
    api.put(kit.path("good"), value=1)
    reflector, _ = start()
    await reflector.wait_synced()
    api.put(kit.path("worse"), value="poison")
    api.put(kit.path("better"), value=1)
    await kit.until(lambda: reflector.store.get("default", "better"))
    assert len(reflector.store) == 2
    assert reflector.lists == 1


async def test_a_line_that_is_no_event_makes_it_watch_again(
    api: Any, kit: Any, start: Start
) -> None:
    async def listed(_: Any) -> None:
        api.once(kit.streaming(b'{"type": "ADDED", "obj\n'))
        api.once(kit.streaming(b'["no", "event"]\n'))

    api.once(listed)
    reflector, changes = start()
    await kit.until(lambda: api.watching)
    api.put(kit.path("thing"), value=1)
    await kit.until(lambda: changes)
    assert reflector.lists == 1


async def test_a_requested_list_is_read_at_once_and_finds_what_events_never_told(
    api: Any, kit: Any, start: Start
) -> None:
    api.put(kit.path("lost"), value=1)
    reflector, changes = start()
    await reflector.wait_synced()
    await kit.until(lambda: api.watching)
    del api.objects[kit.path("lost")]
    api.version += 1
    reflector.request_list()
    await kit.until(lambda: changes[-1] == (("lost", 1), None))
    assert reflector.lists == 2


async def test_a_change_of_what_is_trimmed_away_is_no_change(
    api: Any, kit: Any, start: Start
) -> None:
    api.put(kit.path("thing"), value=1, other=1)
    reflector, changes = start()
    await reflector.wait_synced()
    api.put(kit.path("thing"), value=1, other=2)
    api.put(kit.path("last"), value=1)
    await kit.until(lambda: len(changes) == 2)
    assert reflector.store.known()["default", "thing"].version == "102"
