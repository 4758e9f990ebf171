"""Resync spreads; the audit finds what a watch never told."""

import itertools
from typing import Any

import pytest

from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.queue import WorkQueue
from lepton_operator.engine.resync import METADATA_ONLY, KeyAudit, Resync
from lepton_operator.engine.versions import Key, Known


async def test_every_key_comes_once_in_an_interval_and_in_the_background(clock: Any) -> None:
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    waiting: list[int] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        waiting.append(len(queue))

    await Resync(lambda: range(1000), queue, interval=600, sleep=sleep).round()
    assert len(queue) == 1000
    assert 540 <= clock.now - 1000 <= 660
    assert max(b - a for a, b in itertools.pairwise(waiting)) <= 2
    queue.add(-1)
    assert queue.try_get() == -1


async def test_few_keys_are_spread_too_and_none_is_no_busy_loop(clock: Any) -> None:
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    await Resync(lambda: [], queue, interval=600, sleep=clock.sleep).round()
    assert clock.now > 1500


class Audited:
    """An audit whose findings are kept."""

    def __init__(self, client: Client, kit: Any, clock: Any) -> None:
        self.known: dict[Key, Known] = {}
        self.told: list[tuple[str, str]] = []
        self.audit = KeyAudit(
            client,
            kit.THINGS,
            lambda: dict(self.known),
            namespace="default",
            on_missing=lambda key: self.told.append(("missing", key[1])),
            on_unknown=lambda key: self.told.append(("unknown", key[1])),
            on_stale=lambda key: self.told.append(("stale", key[1])),
            sleep=clock.sleep,
        )

    def knows(self, name: str, uid: str, version: int | str) -> None:
        self.known["default", name] = Known(uid, str(version))


@pytest.fixture
def audited(client: Client, kit: Any, clock: Any) -> Audited:
    return Audited(client, kit, clock)


async def test_the_audit_tells_what_is_missing_unknown_stale_or_another(
    api: Any, audited: Audited, kit: Any
) -> None:
    for name in ("same", "stale", "unknown", "another"):
        api.put(kit.path(name))
    audited.knows("same", "uid-1", 101)
    audited.knows("stale", "uid-2", 90)
    audited.knows("another", "uid-0", 91)
    audited.knows("missing", "uid-9", 92)
    assert await audited.audit.audit() == 4
    assert sorted(audited.told) == [
        ("missing", "another"),
        ("missing", "missing"),
        ("stale", "stale"),
        ("unknown", "unknown"),
    ]
    assert api.headers[-1]["Accept"] == METADATA_ONLY


async def test_what_is_newer_than_the_list_is_no_difference(
    api: Any, audited: Audited, kit: Any, clock: Any
) -> None:
    api.put(kit.path("thing"))
    audited.knows("thing", "uid-1", 200)
    audited.knows("made-since", "uid-2", 201)
    assert await audited.audit.audit() == 0
    assert clock.slept == []


async def test_a_watch_that_is_a_little_late_is_no_difference(
    api: Any, audited: Audited, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put(kit.path("thing"))
    audited.knows("gone", "uid-9", 50)

    async def catch_up(seconds: float) -> None:
        audited.knows("thing", "uid-1", 101)
        audited.known.pop(("default", "gone"), None)

    monkeypatch.setattr(audited.audit, "_sleep", catch_up)
    assert await audited.audit.audit() == 0
    assert audited.told == []


async def test_an_audit_that_cannot_list_tells_nothing(
    api: Any, audited: Audited, kit: Any
) -> None:
    audited.knows("thing", "uid-1", 50)
    api.once(kit.refusing(500, "InternalError"))
    with pytest.raises(ApiError):
        await audited.audit.audit()
    assert audited.told == []
