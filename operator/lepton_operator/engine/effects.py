"""The one place through which an operator writes to the API server.

Every write waits for a token and a slot, goes out only while we lead, and is sent again when a
repetition may help and can do no harm: names are given by the caller (AlreadyExists then tells of
a lost answer), deletions name a UID and status writes a version (Conflict may then tell of one).
"""

import asyncio
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from lepton_operator.engine.client import APPLY_PATCH, MERGE_PATCH, Client
from lepton_operator.engine.diff import is_merged
from lepton_operator.engine.errors import (
    ApiError,
    Conflict,
    NameTaken,
    NotLeader,
    Refused,
    specific,
)
from lepton_operator.engine.limits import Clock, Sleep, TokenBucket
from lepton_operator.engine.recorder import EventRecorder
from lepton_operator.engine.resources import Resource

__all__ = ["ApiError", "Conflict", "Effects", "Metrics", "NameTaken", "NotLeader", "Refused"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""In which a write is tried again; what fails for longer is the queue's to repeat."""
RETRY_PAUSES = (0.1, 5.0)
"""Seconds before the first and before any repetition without Retry-After; doubled, with jitter."""
OVERLOADED = (429, 503)
BROKEN = (500, 502, 504)
MAX_BROKEN = 3
"""Attempts at what the server fails at; a failing webhook (500) must not hold up a worker."""


class Metrics(Protocol):
    """Told of every request that was answered (or not: code 0)."""

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Count it; `resource` is the plural, with the subresource if any: `pods/status`."""


class Effects:
    """Writes, `rate` a second with bursts of `burst`, at most `in_flight` at once.

    Methods raise NotLeader, Refused, Conflict, or ApiError when repeating did not help.
    """

    def __init__(
        self,
        client: Client,
        *,
        rate: float = 50.0,
        burst: float = 100.0,
        in_flight: int = 16,
        is_leader: Callable[[], bool],
        metrics: Metrics | None = None,
        controller: str = "lepton-operator",
        instance: str | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._client = client
        self._bucket = TokenBucket(rate, burst, clock=clock, sleep=sleep)
        self._slots = asyncio.Semaphore(in_flight)
        self._is_leader = is_leader
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._retry_seconds = retry_seconds
        self._recorder = EventRecorder(
            self._post_event, controller, instance or socket.gethostname(), clock=clock
        )

    async def create(self, resource: Resource, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """POST; an object of the same name and controller is returned as it is, and where the
        manifest has no controller, one without and with a label or annotation of the manifest's.

        Labels that it has lost are put back, or a watch by label would never show it. Raises
        NameTaken if it is another's.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"))
        try:
            return await self._write(
                "create", resource.plural, lambda: self._client.post(path, manifest)
            )
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        # If it is deleted just now, the 404 is an error like any other: the queue tries again.
        path = resource.path(metadata.get("namespace"), metadata["name"])
        existing = await self._client.get(path)
        if not _is_of_the_same(existing, manifest):
            raise NameTaken(resource.kind, metadata["name"], _describe(_controller(existing)))
        labels = metadata.get("labels") or {}
        if labels.items() <= (existing["metadata"].get("labels") or {}).items():
            return existing
        patch = {"metadata": {"uid": existing["metadata"]["uid"], "labels": labels}}
        return await self._write(
            "patch", resource.plural, lambda: self._client.patch(path, patch, MERGE_PATCH)
        )

    async def apply(
        self, resource: Resource, manifest: Mapping[str, Any], field_manager: str
    ) -> dict[str, Any]:
        """Server-side apply (KEP-555) with force; the object after it.

        With uid or resourceVersion in the manifest's metadata, it raises Conflict if they differ.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        params = {"fieldManager": field_manager, "force": "true"}
        return await self._write(
            "apply",
            resource.plural,
            lambda: self._client.patch(path, manifest, APPLY_PATCH, params),
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        uid: str,
        version: str | None = None,
    ) -> dict[str, Any] | None:
        """Delete the object with this UID, in this version if one is given, and in the background
        what it owns.

        Returns what is there now: the object while it terminates, or, without a deletionTimestamp,
        if it has another version and so is not deleted; None when it is gone (or another has its
        name). `Store.deletion_response` takes any of it.
        """
        preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": preconditions,
        }
        path = resource.path(namespace, name)
        try:
            answer = await self._write(
                "delete", resource.plural, lambda: self._client.delete(path, options)
            )
        except Conflict:
            # Which of the preconditions failed is told in words only. And to wait for the watch to
            # bring the new version is to keep alive what is to go, when the watch is late.
            return await self._still_there(path, uid)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return None if answer.get("kind") == "Status" or "metadata" not in answer else answer

    async def _still_there(self, path: str, uid: str) -> dict[str, Any] | None:
        """The object as it is now, if it has this UID."""
        try:
            found = await self._client.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found if found["metadata"]["uid"] == uid else None

    async def patch_status(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        resource_version: str,
        patch: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Merge-patch the status of exactly this version; the object after it.

        `patch` is the patch of the field `status`, not of the object. Raises Conflict if the
        object has another version by now, unless this write has made it and its answer was lost.
        """
        path = resource.path(namespace, name, "status")
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
        sent = 0

        def send() -> Awaitable[dict[str, Any]]:
            nonlocal sent
            sent += 1
            return self._client.patch(path, body, MERGE_PATCH)

        try:
            return await self._write("patch", f"{resource.plural}/status", send)
        except Conflict:
            if sent == 1:
                raise
            found = await self._client.get(resource.path(namespace, name))
            if not is_merged(patch, found.get("status") or {}):
                raise
            return found

    async def event(
        self,
        regarding: Mapping[str, Any],
        type: str,  # noqa: A002
        reason: str,
        note: str,
        action: str,
    ) -> None:
        """Tell about an object in an Event, as well as can be: see EventRecorder. Never raises.

        `regarding` is the object, or its apiVersion, kind and metadata (name, namespace, uid);
        `type` Normal or Warning.
        """
        await self._recorder.record(regarding, type, reason, note, action)

    async def _post_event(self, path: str, event: Mapping[str, Any]) -> None:
        if self._is_leader():
            await self._count("create", "events", lambda: self._client.post(path, event))

    async def _write(
        self, verb: str, resource: str, send: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Send, and send again until it succeeds, can't succeed, or time is up."""
        started = self._clock()
        attempt = 0
        while True:
            attempt += 1
            await self._bucket.take()
            try:
                async with self._slots:
                    # Asked as late as can be: waiting may have taken longer than the lease lasts.
                    if not self._is_leader():
                        raise NotLeader(f"{verb} of {resource} not sent: not the leader")
                    return await self._count(verb, resource, send)
            except ApiError as error:
                pause = self._pause(error, attempt)
                left = self._retry_seconds - (self._clock() - started)
                if pause is None or pause > left:
                    raise
                log.debug("%s of %s failed, again in %.1f s: %s", verb, resource, pause, error)
            await self._sleep(pause)

    def _pause(self, error: ApiError, attempt: int) -> float | None:
        """Seconds until the next attempt, or None if there should be none."""
        first, most = RETRY_PAUSES
        pause = min(most, first * 2.0 ** min(attempt - 1, 16)) * random.uniform(0.5, 1.5)
        if error.status in OVERLOADED:
            # Not before the time asked for, and not all of us at that very moment.
            return pause if error.retry_after is None else error.retry_after + pause
        if error.status == 0:
            return pause
        if error.status in BROKEN and attempt < MAX_BROKEN:
            return pause
        return None

    async def _count(
        self, verb: str, resource: str, send: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Send once, tell the metrics, and raise the error's proper class."""
        started = self._clock()
        code = 200
        try:
            return await send()
        except ApiError as error:
            code = error.status
            raise specific(error) from None
        finally:
            if self._metrics:
                self._metrics.on_request(verb, resource, code, self._clock() - started)


def _controller(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference (metav1.GetControllerOf) that controls an object."""
    for owner in manifest["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return owner  # type: ignore[no-any-return]
    return None


def _is_of_the_same(existing: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether both have one controller; or none, and one maker."""
    theirs, ours = _controller(existing), _controller(manifest)
    if theirs is not None or ours is not None:
        return bool(theirs and ours and theirs["uid"] == ours["uid"])
    there, wanted = existing["metadata"], manifest["metadata"]
    labels, annotations = wanted.get("labels") or {}, wanted.get("annotations") or {}
    return bool(
        labels.items() & (there.get("labels") or {}).items()
        or annotations.keys() & (there.get("annotations") or {}).keys()
    )


def _describe(owner: Mapping[str, Any] | None) -> str:
    return f"{owner['kind']} {owner['name']} (UID {owner['uid']})" if owner else "nobody"
