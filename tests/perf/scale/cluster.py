"""The API server as the benchmark uses it: many objects at once, watched as they change."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any

import orjson

from lepton_operator.app.resources import JOBS, PODS, TRAINING_JOBS
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.resources import Resource

Json = dict[str, Any]
IN_FLIGHT = 24
"""Requests at once: enough to keep the API server busy."""
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


async def concurrently(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all of it, so many at once. The first error ends it."""
    waiting = iter(work)

    async def one_after_another() -> None:
        for piece in waiting:
            await piece

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(one_after_another())


async def create_all(client: Client, resource: Resource, manifests: Iterable[Json]) -> None:
    """Create many objects of a kind."""
    await concurrently(create(client, resource, manifest) for manifest in manifests)


async def create(client: Client, resource: Resource, manifest: Json) -> Json:
    """Create one object; returns it as it was stored."""
    where, name = manifest["metadata"].get("namespace"), manifest["metadata"]["name"]
    try:
        return await patiently(lambda: client.post(resource.path(where), manifest))
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
    # It had been created, and only the answer was lost.
    return await client.get(resource.path(where, name))


async def patiently(send: Callable[[], Awaitable[Json]]) -> Json:
    """Send a request; an API server that is busy is asked again."""
    for pause in (1.0, 2.0, 4.0, 8.0):
        try:
            return await send()
        except ApiError as error:
            if error.status not in (0, 429, 500, 503, 504):
                raise
        await asyncio.sleep(pause)
    return await send()


@contextlib.asynccontextmanager
async def namespace(client: Client, name: str) -> AsyncIterator[str]:
    """A namespace for one measurement; it ends only when everything in it is gone, so that the
    next measurement finds a quiet cluster."""
    await client.post(NAMESPACES.path(), {"metadata": {"name": name}})
    try:
        yield name
    finally:
        for resource in (TRAINING_JOBS, JOBS, PODS):
            await _delete_all(client, resource, name)
        await client.delete(NAMESPACES.path(None, name))
        await _gone(client, name)


async def _delete_all(client: Client, resource: Resource, namespace: str) -> None:
    """Delete all of a kind. With thousands the API server gives up after a minute, and with the
    training jobs still there an operator would begin their attempts anew."""
    options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
    for _ in range(20):
        with contextlib.suppress(ApiError):
            await client.delete(resource.path(namespace), options, timeout=120.0)
            return


async def _gone(client: Client, name: str) -> None:
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        try:
            await client.get(NAMESPACES.path(None, name))
        except ApiError as error:
            if error.status == 404:
                return
        await asyncio.sleep(1)
    raise TimeoutError(f"namespace {name} is not gone after half an hour")


class Watched:
    """The objects of a kind in a namespace: when each was first seen to be in a state."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str,
        states: Callable[[Json], Iterable[str]],
    ) -> None:
        self._client, self._resource, self._namespace = client, resource, namespace
        self._states = states
        self._changed = asyncio.Event()
        self._first: defaultdict[str, dict[str, float]] = defaultdict(dict)

    async def run(self) -> None:
        """Watch until cancelled. Where the watch is cut off, it begins anew with a list."""
        path = self._resource.path(self._namespace)
        while True:
            try:
                params = {"limit": "500"}
                while True:
                    page = await self._client.get(path, params, timeout=60.0)
                    for item in page["items"]:
                        self._see(item)
                    if not (token := page["metadata"].get("continue")):
                        break
                    params["continue"] = token
                version = page["metadata"]["resourceVersion"]
                watch = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "600"}
                async for line in self._client.stream(path, watch, idle=610.0):
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        break
                    if event["type"] != "DELETED":
                        self._see(event["object"])
            except ApiError:
                await asyncio.sleep(0.2)

    def _see(self, item: Json) -> None:
        now, name = time.monotonic(), item["metadata"]["name"]
        for state in self._states(item):
            if name not in self._first[state]:
                self._first[state][name] = now
                self._changed.set()

    def times(self, state: str) -> dict[str, float]:
        """When each object was first seen in the state: seconds on the monotonic clock, by name."""
        return self._first[state]

    async def reached(self, state: str, count: int, within: float) -> float:
        """When so many objects had been seen in the state. Raises TimeoutError."""
        deadline = time.monotonic() + within
        while len(found := self.times(state)) < count:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"{len(found)} of {count} {self._resource.plural} are {state} after {within} s"
                )
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), min(left, 5.0))
        return max(found.values())


def pod_states(pod: Json) -> list[str]:
    """Its phase; and that it exists."""
    return ["created", pod.get("status", {}).get("phase", "Pending")]


def job_states(job: Json) -> list[str]:
    """`created`, and the conditions that are true."""
    conditions = job.get("status", {}).get("conditions", ())
    return ["created", *(c["type"] for c in conditions if c["status"] == "True")]


def training_job_states(job: Json) -> list[str]:
    """The phase, once it is told."""
    status = job.get("status", {})
    return [status["phase"]] if "phase" in status else []


@contextlib.asynccontextmanager
async def watching(*watched: Watched) -> AsyncIterator[None]:
    """Watch meanwhile."""
    tasks = [asyncio.create_task(one.run()) for one in watched]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
