"""Events (events.k8s.io/v1) about objects, for `kubectl describe`: never in the way of work."""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.limits import Clock, TokenBucket
from lepton_operator.engine.resources import Resource

log = logging.getLogger(__name__)

EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
MAX_NOTE = 1024
"""Bytes, by the API's validation."""
MAX_REASON = 128
REPEAT_SECONDS = 600
"""The same is said about the same object at most once in so many seconds."""
REMEMBERED = 4096
RATE, BURST = 10.0, 100.0
"""Events per second, apart from other writes; what goes beyond is dropped."""


class EventRecorder:
    """Sends events that are news; those that can't be sent are dropped, with a word in the log."""

    def __init__(
        self,
        post: Callable[[str, Mapping[str, Any]], Awaitable[None]],
        controller: str,
        instance: str,
        *,
        clock: Clock = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._post = post
        self._controller = controller
        self._instance = instance[:MAX_REASON]
        self._clock = clock
        self._wall_clock = wall_clock
        self._bucket = TokenBucket(RATE, BURST, clock=clock)
        self._said: OrderedDict[str, float] = OrderedDict()

    async def record(
        self,
        regarding: Mapping[str, Any],
        type: str,  # noqa: A002
        reason: str,
        note: str,
        action: str,
    ) -> None:
        """Send one event unless it was sent lately. Never raises but for cancellation."""
        metadata = regarding["metadata"]
        now = self._wall_clock()
        # The name follows from what is said: a successor who repeats it is told AlreadyExists.
        said = "\0".join((metadata.get("uid", ""), type, reason, note))
        digest = hashlib.sha256(f"{said}\0{int(now // REPEAT_SECONDS)}".encode()).hexdigest()[:16]
        if not self._is_news(said):
            return
        if not self._bucket.try_take():
            log.info("event %s about %s dropped: too many", reason, metadata["name"])
            return
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": namespace},
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": type,
            "reason": reason[:MAX_REASON],
            "action": action[:MAX_REASON],
            "note": shorten(note, MAX_NOTE),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "name": metadata["name"],
                "namespace": metadata.get("namespace", ""),
                "uid": metadata.get("uid", ""),
            },
        }
        try:
            await self._post(EVENTS.path(namespace), event)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                log.info("event %s about %s dropped: %s", reason, metadata["name"], error)
        except Exception:
            log.exception("event %s about %s dropped", reason, metadata["name"])

    def _is_news(self, said: str) -> bool:
        now = self._clock()
        key = hashlib.sha256(said.encode()).hexdigest()
        if now - self._said.get(key, float("-inf")) < REPEAT_SECONDS:
            return False
        self._said[key] = now
        self._said.move_to_end(key)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return True


def shorten(text: str, most: int) -> str:
    """The text in at most `most` bytes of UTF-8, with an ellipsis if it was cut."""
    raw = text.encode()
    if len(raw) <= most:
        return text
    return raw[: most - 3].decode(errors="ignore") + "…"
