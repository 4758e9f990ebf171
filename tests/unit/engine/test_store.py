"""The store between the watch and the answers to our own writes."""

import asyncio
from typing import Any

import pytest

from lepton_operator.engine.store import AT_ONCE, REMEMBERED_DELETIONS, Store

Changes = list[tuple[Any, Any]]


def raw(value: int, version: int | str, uid: str = "u", name: str = "thing") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": str(version)},
        "value": value,
    }


@pytest.fixture
def changes() -> Changes:
    return []


@pytest.fixture
def store(changes: Changes) -> Store[int]:
    return Store(lambda r: r["value"], lambda old, new: changes.append((old, new)))


async def replace(store: Store[int], version: int, *raws: dict[str, Any]) -> None:
    await store.replace(store.trimmed(raws), str(version))


def test_the_answer_to_our_write_is_read_at_once_and_its_echo_is_no_change(
    store: Store[int], changes: Changes
) -> None:
    store.upsert_response(raw(1, 10))
    assert store.get("ns", "thing") == 1
    store.upsert(raw(1, 10))
    assert changes == []
    store.upsert(raw(2, 11))
    assert changes == [(1, 2)]


async def test_what_only_an_earlier_version_shows_is_carried_over(changes: Changes) -> None:
    store: Store[int] = Store(
        lambda r: r["value"], lambda old, new: changes.append((old, new)), carry=min
    )
    store.upsert(raw(2, 10))
    store.upsert(raw(3, 11))
    assert (store.get("ns", "thing"), changes) == (2, [(None, 2)])
    store.upsert_response(raw(1, 12))
    await replace(store, 13, raw(4, 13))
    assert store.get("ns", "thing") == 1
    store.upsert(raw(9, 14, uid="another"))
    assert store.get("ns", "thing") == 9


def test_an_answer_that_comes_after_the_watch_does_not_go_backwards(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(3, 12))
    store.upsert_response(raw(1, 10))
    assert store.get("ns", "thing") == 3


def test_a_foreign_change_that_our_answer_jumped_over_is_still_told(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10))
    changes.clear()
    store.upsert_response(raw(3, 12))  # holds somebody's version 11, too
    store.upsert(raw(2, 11))
    assert changes == [(3, 3)]
    store.upsert(raw(3, 12))
    assert changes == [(3, 3)]


def test_echoes_of_several_writes_of_ours_are_no_foreign_changes(
    store: Store[int], changes: Changes
) -> None:
    for version in (10, 11, 12):
        store.upsert_response(raw(version, version))
    for version in (10, 11, 12):
        store.upsert(raw(version, version))
    assert changes == []
    assert store.get("ns", "thing") == 12


async def test_a_list_tells_of_what_an_answer_may_have_jumped_over(
    store: Store[int], changes: Changes
) -> None:
    store.upsert_response(raw(3, 12))
    await replace(store, 20, raw(3, 12))
    assert changes == [(3, 3)]


async def test_who_else_is_on_the_loop_has_turns_while_a_long_list_is_taken_in(
    store: Store[int],
) -> None:
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(len(store))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await replace(store, 9, *(raw(n, 1, f"u{n}", f"thing-{n}") for n in range(3 * AT_ONCE)))
    looking.cancel()
    assert {AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE} <= set(seen)


async def test_an_answer_that_comes_while_a_list_is_taken_in_stays(store: Store[int]) -> None:
    first = [raw(n, 1, f"u{n}", f"thing-{n}") for n in range(AT_ONCE)]

    async def write() -> None:
        store.upsert_response(raw(2, 30, "u", "thing"))
        store.deletion_response("ns", "gone", "v", None)

    store.upsert(raw(0, 1, "v", "gone"))
    writing = asyncio.create_task(write())
    await replace(store, 20, *first, raw(1, 10), raw(0, 1, "v", "gone"))
    await writing
    assert store.get("ns", "thing") == 2
    assert store.get("ns", "gone") is None


async def test_a_list_that_is_older_than_our_answer_does_not_undo_it(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10))
    changes.clear()
    store.upsert_response(raw(7, 21, "new", "made"))
    store.upsert_response(raw(2, 22))
    await replace(store, 20, raw(1, 10))
    assert store.get("ns", "made") == 7
    assert store.get("ns", "thing") == 2
    assert changes == []


def test_what_we_deleted_is_gone_at_once_and_late_events_do_not_bring_it_back(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10))
    changes.clear()
    store.deletion_response("ns", "thing", "u", None)
    assert store.get("ns", "thing") is None
    store.upsert(raw(2, 11))
    assert store.get("ns", "thing") is None
    assert changes == []
    store.delete(raw(2, 12))
    assert changes == [(1, None)]


async def test_a_list_confirms_a_deletion_of_ours(store: Store[int], changes: Changes) -> None:
    store.upsert(raw(1, 10))
    changes.clear()
    store.deletion_response("ns", "thing", "u", None)
    await replace(store, 11, raw(1, 10))  # began before the deletion
    assert store.get("ns", "thing") is None
    assert changes == []
    await replace(store, 20)
    assert changes == [(1, None)]


def test_what_still_terminates_after_our_deletion_stays_until_it_is_gone(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10))
    store.deletion_response("ns", "thing", "u", raw(2, 11))
    assert store.get("ns", "thing") == 2


def test_a_successor_of_the_same_name_replaces_and_survives_its_predecessors_events(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10, "old"))
    store.upsert(raw(1, 20, "new"))
    assert changes[1:] == [(1, 1)]  # looks the same, and is another
    store.delete(raw(1, 15, "old"))
    store.upsert(raw(9, 14, "old"))
    assert store.get("ns", "thing") == 1


def test_the_deletion_of_a_successor_that_was_never_seen_removes_its_predecessor(
    store: Store[int],
) -> None:
    store.upsert(raw(1, 10, "old"))
    store.delete(raw(2, 20, "new"))
    assert store.get("ns", "thing") is None


def test_an_object_that_matches_the_selector_again_comes_back(
    store: Store[int], changes: Changes
) -> None:
    store.upsert(raw(1, 10))
    store.delete(raw(1, 11))  # so the API server tells that a label was taken away
    store.upsert(raw(1, 12))
    assert store.get("ns", "thing") == 1


def test_versions_that_cannot_be_compared_count_as_they_come(store: Store[int]) -> None:
    store.upsert(raw(1, "b"))
    store.upsert(raw(2, "a"))
    assert store.get("ns", "thing") == 2


def test_on_change_that_fails_does_not_harm_the_store(caplog: pytest.LogCaptureFixture) -> None:
    def fail(old: Any, new: Any) -> None:
        raise RuntimeError("oh")

    store: Store[int] = Store(lambda r: r["value"], fail)
    store.upsert(raw(1, 10))
    assert store.get("ns", "thing") == 1
    assert "on_change failed" in caplog.text


def test_the_index_follows_changes_and_forgets_empty_groups() -> None:
    store: Store[int] = Store(
        lambda r: r["value"], lambda old, new: None, lambda item: item % 10 or None
    )
    store.upsert(raw(1, 10))
    store.upsert(raw(11, 11, "v", "other"))
    assert sorted(store.by_index(1)) == [1, 11]
    store.upsert(raw(2, 12))
    assert store.by_index(1) == (11,)
    assert store.by_index(2) == (2,)
    store.upsert(raw(20, 13))
    assert store.by_index(2) == ()
    store.delete(raw(11, 14, "v", "other"))
    assert store._groups == {}
    assert store.values() == (20,)


def test_remembered_deletions_are_limited(store: Store[int]) -> None:
    for n in range(REMEMBERED_DELETIONS + 10):
        store.upsert(raw(1, 2 * n + 1, f"u{n}", f"n{n}"))
        store.delete(raw(1, 2 * n + 2, f"u{n}", f"n{n}"))
    assert len(store._gone) == REMEMBERED_DELETIONS
    assert store._deleted == {}
    assert store._own == {}
