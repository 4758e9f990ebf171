"""kopf's failures stay its own, and what it tells arrives in our loop."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kopf
import pytest
from kopf._cogs.clients import fetching
from kopf._cogs.structs.references import Resource

from lepton_operator.app import shell
from lepton_operator.engine.client import PAGE

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


async def test_kopf_reads_jobs_in_pages_since_it_parses_each_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, list[str]]] = []

    async def get(url: str, **_: Any) -> Any:
        asked.append(query := parse_qs(urlsplit(url).query))
        following = {} if "continue" in query else {"continue": "there"}
        return {"items": [], "metadata": {"resourceVersion": "7", **following}}

    monkeypatch.setattr(fetching.api, "get", get)
    pages = fetching.fetch_objs(
        settings=shell.kopf_settings(),
        resource=Resource("training.lepton.ai", "v1alpha1", "leptontrainingjobs"),
        namespace=None,
        logger=logging.getLogger("kopf"),
    )
    assert len([page async for page in pages]) == 2
    assert asked == [
        {"limit": [str(PAGE)]},
        {"limit": [str(PAGE)], "continue": ["there"]},
    ]
