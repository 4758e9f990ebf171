"""A small API server in this process, for the edges of the protocol that a real one rarely shows.

It keeps objects with versions, answers lists, watches, and the verbs that the engine uses, and lets
a test stand in for any answer. Everything else is tested on the real API server.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from lepton_operator.engine.client import Client
from lepton_operator.engine.resources import Resource

Hook = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def status(code: int, reason: str, message: str = "", **details: Any) -> dict[str, Any]:
    """A metav1.Status of a failure."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message or reason,
        "details": details,
    }


def refusal(code: int, reason: str, message: str = "", **details: Any) -> web.Response:
    return web.json_response(status(code, reason, message, **details), status=code)


@dataclass
class Clock:
    """Time that a test moves by hand; sleeping moves it, too."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class FakeApi:
    """Objects by path, one counter of versions, and a history for watches."""

    def __init__(self) -> None:
        self.version = 100
        self.compacted = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, str, dict[str, Any]]] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.hooks: list[Hook] = []
        self.changed = asyncio.Event()
        self.uids = 0
        self.watching = 0
        self.url = ""

    # What a test does to the cluster

    def put(self, path: str, **content: Any) -> dict[str, Any]:
        """Add or modify an object behind everybody's back."""
        before = self.objects.get(path)
        parts = path.split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else ""
        metadata = content.pop("metadata", {})
        if before is None:
            self.uids += 1
        self.version += 1
        stored = {
            **content,
            "metadata": {
                **metadata,
                "namespace": namespace,
                "name": parts[-1],
                "uid": before["metadata"]["uid"] if before else f"uid-{self.uids}",
                "resourceVersion": str(self.version),
            },
        }
        self.objects[path] = stored
        self._tell("MODIFIED" if before else "ADDED", stored)
        return copy.deepcopy(stored)

    def remove(self, path: str) -> None:
        """Delete an object behind everybody's back."""
        self.version += 1
        gone = self.objects.pop(path)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", gone)

    def compact(self) -> None:
        """Forget all history: a watch from an earlier version gets 410."""
        self.compacted = self.version
        self.history.clear()

    def once(self, hook: Hook) -> None:
        """Have the next request answered by `hook`; with None as its answer, normally."""
        self.hooks.append(hook)

    def count(self, method: str, part: str = "") -> int:
        return sum(m == method and part in p for m, p in self.requests)

    def _tell(self, kind: str, stored: dict[str, Any]) -> None:
        self.history.append((self.version, kind, copy.deepcopy(stored)))
        self.changed.set()
        self.changed = asyncio.Event()

    # What the cluster answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.json() if request.can_read_body else None)
        if self.hooks:
            answer = await self.hooks.pop(0)(request)
            if answer is not None:
                return answer
        return await self.answer(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As a sound API server answers."""
        path = request.path
        if request.method == "GET":
            if path in self.objects:
                return web.json_response(self.objects[path])
            if "watch" in request.query:
                return await self._watch(request)
            plural = path.rsplit("/", 1)[-1]
            if plural.islower() and plural.endswith("s"):
                return self._list(request)
            return refusal(404, "NotFound")
        body = self.bodies[-1]
        if request.method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.objects:
                return refusal(409, "AlreadyExists")
            return web.json_response(self.put(path, **body), status=201)
        path = path.removesuffix("/status")
        stored = self.objects.get(path)
        if stored is None:
            return refusal(404, "NotFound")
        if request.method == "DELETE":
            for field, wanted in (body.get("preconditions") or {}).items():
                if wanted != stored["metadata"][field]:
                    return refusal(409, "Conflict", f"the {field} in the precondition differs")
            self.remove(path)
            return web.json_response({"kind": "Status", "status": "Success"})
        wanted = body["metadata"].get("resourceVersion")
        if wanted and wanted != stored["metadata"]["resourceVersion"]:
            return refusal(409, "Conflict", "the object has been modified")
        content = {k: v for k, v in stored.items() if k != "metadata"} | {
            k: v for k, v in body.items() if k != "metadata"
        }
        return web.json_response(self.put(path, metadata=stored["metadata"], **content))

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue", "0"))
        limit = int(request.query.get("limit", "0")) or len(self.objects)
        found = [o for p, o in sorted(self.objects.items()) if p.startswith(request.path + "/")]
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": found[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.compacted:
            return refusal(410, "Expired", "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        self.watching += 1
        try:
            while True:
                changed = self.changed
                for version, kind, stored in list(self.history):
                    if version > since:
                        await response.write(line(kind, stored))
                        since = version
                await changed.wait()
        finally:
            self.watching -= 1


def line(kind: str, stored: dict[str, Any]) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": kind, "object": stored}).encode() + b"\n"


def streaming(*chunks: bytes, then: Awaitable[Any] | None = None, cut: bool = False) -> Hook:
    """A watch that sends these chunks; then waits, or has its connection cut, or ends."""

    async def hook(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then is not None:
            await then
        if cut and request.transport:
            request.transport.close()
        return response

    return hook


def refusing(code: int, reason: str, message: str = "", **details: Any) -> Hook:
    """An error instead of the answer."""

    async def hook(request: web.Request) -> web.StreamResponse:
        response = refusal(code, reason, message, **details)
        if "retryAfterSeconds" in details:
            response.headers["Retry-After"] = str(details["retryAfterSeconds"])
        return response

    return hook


class Engine:
    """What tests need of this module, which can't be imported by name (import-mode=importlib)."""

    Clock = Clock
    line = staticmethod(line)
    status = staticmethod(status)
    json = staticmethod(web.json_response)
    streaming = staticmethod(streaming)
    refusing = staticmethod(refusing)
    THINGS = Resource("example.org", "v1", "things", "Thing")

    @staticmethod
    def path(name: str, namespace: str = "default") -> str:
        return Engine.THINGS.path(namespace, name)

    @staticmethod
    async def until(condition: Callable[[], object], what: str = "") -> None:
        """Wait for a condition; the limit is only there to end a test that has failed."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"did not come true: {what or condition}")


@pytest.fixture
def kit() -> type[Engine]:
    return Engine


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[Client]:
    client = Client(api.url)
    yield client
    await client.close()
