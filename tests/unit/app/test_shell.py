"""kopf's failures stay its own, and what it tells arrives in our loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import kopf
import pytest

from lepton_operator.app import shell

Operator = Callable[..., Awaitable[None]]


class Listener:
    """A watch with a stand-in for kopf, and what came of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lives: Operator) -> None:
        self.lives = list(lives)
        self.heard: list[tuple[str, int]] = []
        self.restarts = 0
        self.ready = asyncio.Event()
        monkeypatch.setattr(kopf, "operator", self.operator)
        monkeypatch.setattr(shell.random, "uniform", lambda *_: 0.0)
        self.watch = shell.Watch(
            on_seen=self.hear, on_deleted=self.hear, on_restart=self.restarted, namespace="team"
        )

    async def operator(self, **arguments: Any) -> None:
        assert arguments["namespaces"] == ["team"]
        await self.lives.pop(0)(**arguments)

    def hear(self, raw: dict[str, Any]) -> None:
        self.heard.append((raw["metadata"]["name"], threading.get_ident()))

    def restarted(self) -> None:
        self.restarts += 1


async def fails(**_: Any) -> None:
    raise RuntimeError("410 Gone")


async def works(*, registry: Any, stop_flag: Any, ready_flag: Any, **_: Any) -> None:
    ready_flag.set()
    (handler,) = registry._watching.get_all_handlers()
    for kind, name in (("ADDED", "a"), ("DELETED", "b")):
        await handler.fn(event={"type": kind, "object": {"metadata": {"name": name}}})
    while not stop_flag.is_set():
        await asyncio.sleep(0.005)


async def test_a_watch_that_fails_begins_anew_and_its_gap_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = Listener(monkeypatch, fails, fails, works)
    running = asyncio.create_task(listener.watch.run(listener.ready))
    await listener.ready.wait()
    while len(listener.heard) < 2:
        await asyncio.sleep(0.005)
    assert listener.heard == [("a", threading.get_ident()), ("b", threading.get_ident())]
    assert listener.restarts == 2
    listener.watch.stop()
    await running
    assert not listener.lives


async def test_a_watch_that_never_works_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(monkeypatch, *[fails] * shell.MAX_FAILURES)
    with pytest.raises(RuntimeError, match="410 Gone"):
        await listener.watch.run(listener.ready)
    assert not listener.ready.is_set()
