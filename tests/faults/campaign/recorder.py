"""Watches a namespace straight from the API server: what is there, and all that was, in order."""

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any

from lepton_operator.engine.client import ApiError, Client

Json = dict[str, Any]

PATHS = {
    "leptontrainingjobs": "/apis/training.lepton.ai/v1alpha1/namespaces/{}/leptontrainingjobs",
    "jobs": "/apis/batch/v1/namespaces/{}/jobs",
    "pods": "/api/v1/namespaces/{}/pods",
}


@dataclass(frozen=True)
class Seen:
    """One event of a watch."""

    version: int
    """etcd's revision, which orders events of all kinds."""
    resource: str
    type: str
    object: Json
    time: float = 0.0
    """When it came, on the monotonic clock."""


class Recorder:
    """Use as an asynchronous context, before anything is made in the namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._seen: list[Seen] = []
        self._now: dict[str, dict[str, Json]] = {resource: {} for resource in PATHS}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Recorder":
        for resource, path in PATHS.items():
            address = path.format(self._namespace)
            listed = await self._listed(address)
            assert not listed["items"], f"{resource} in {self._namespace} already"
            version = listed["metadata"]["resourceVersion"]
            self._tasks.append(asyncio.create_task(self._watch(resource, address, version)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Raises what a watch has died of."""
        for task in self._tasks:
            if task.done():
                task.result()
                raise AssertionError("a recorder's watch has ended")

    def now(self, resource: str) -> list[Json]:
        """The objects of a kind."""
        self.check()
        return list(self._now[resource].values())

    def get(self, resource: str, name: str) -> Json | None:
        """One object, or None."""
        self.check()
        return self._now[resource].get(name)

    def forget(self) -> None:
        """Drop what was; what is there stays."""
        self._seen.clear()

    @property
    def history(self) -> list[Seen]:
        """All events in the order in which they happened."""
        return sorted(self._seen, key=lambda seen: seen.version)

    async def _watch(self, resource: str, path: str, version: str) -> None:
        while True:
            params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "3600"}
            try:
                async for line in self._client.stream(path, params, idle=3600):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        assert event["object"]["code"] == 410, event["object"]
                        version = await self._list(resource, path)
                        break
                    version = self._take(resource, event["type"], event["object"])
            except ApiError as error:
                # A kind whose definition changes is not served for a moment.
                if error.status != 429:
                    raise
                await asyncio.sleep(0.2)

    async def _list(self, resource: str, path: str) -> str:
        """Go on after a definition has changed, which ends all watches of a kind."""
        listed = await self._listed(path)
        for there in listed["items"]:
            self._take(resource, "MODIFIED", there)
        version: str = listed["metadata"]["resourceVersion"]
        return version

    async def _listed(self, path: str) -> Json:
        """A list. A kind whose definition has just changed is not served for a moment."""
        for _ in range(100):
            try:
                return await self._client.get(path)
            except ApiError as error:
                if error.status != 429:
                    raise
                await asyncio.sleep(0.2)
        raise AssertionError(f"{path} is not served")

    def _take(self, resource: str, kind: str, there: Json) -> str:
        """Note an event; returns its version."""
        version: str = there["metadata"]["resourceVersion"]
        self._seen.append(Seen(int(version), resource, kind, there, time.monotonic()))
        if kind == "DELETED":
            self._now[resource].pop(there["metadata"]["name"], None)
        else:
            self._now[resource][there["metadata"]["name"]] = there
        return version
