"""Keeps a store of one kind of object like the cluster: list once, then watch for good.

As client-go's reflector, with the API server's load in mind: an ended or broken watch resumes from
the last version it showed; only a version that the server has forgotten (410) makes it list again.
The list is read in pages and without resourceVersion: consistent, and less memory than any other
way (measured/api.md).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import orjson

from lepton_operator.engine.client import PAGE, Client
from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.resources import Resource
from lepton_operator.engine.store import Change, Store
from lepton_operator.engine.versions import Key, Known, is_older

log = logging.getLogger(__name__)

T = TypeVar("T")

LIST_TIMEOUT = 60.0
WATCH_SECONDS = (270, 330)
"""The server is asked to end a watch after a time between these, so that not all end together."""
IDLE_SECONDS = 100.0
"""Without a line for so long, a watch counts as stalled: bookmarks come every minute (KEP-956)."""
BACKOFF = (0.5, 15.0)
"""Seconds before the first and at most before any attempt after a failure; halved at random."""
FAILURES_UNTIL_LIST = 3
"""Watches that the server refused in a row before a list is tried instead."""


class Reflector(Generic[T]):
    """Runs until cancelled; whatever fails is tried again, with the reason in `last_error`.

    `trim`, `index` and `carry` are the store's. `on_change(old, new)` is called for every change of
    a trimmed item (an object that differs only in what was trimmed away is none), also for what a
    list shows to be gone. It must not block.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        trim: Callable[[dict[str, Any]], T],
        *,
        on_change: Change[T],
        namespace: str | None = None,
        label_selector: str | None = None,
        index: Callable[[T], Hashable | None] | None = None,
        carry: Callable[[T, T], T] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        backoff: tuple[float, float] = BACKOFF,
    ) -> None:
        self.resource = resource
        self.store: Store[T] = Store(trim, on_change, index, carry)
        self.last_activity = time.monotonic()
        """When the server last said anything, on the monotonic clock."""
        self.last_error: str | None = None
        """Why list or watch fail at the moment; None while they don't."""
        self.lists = 0
        self.watches = 0
        self.events = 0
        self._client = client
        self._path = resource.path(namespace)
        self._select = {"labelSelector": label_selector} if label_selector else {}
        self._idle_seconds = idle_seconds
        self._backoff = backoff
        self._synced = asyncio.Event()
        self._version: str | None = None
        self._failures = 0
        self._watching: asyncio.Timeout | None = None

    @property
    def synced(self) -> bool:
        """Whether the store has held the whole list once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait for `synced`."""
        await self._synced.wait()

    def request_list(self) -> None:
        """Have a list read now, as after a 410; for when events got lost."""
        self._version = None
        if self._watching and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            started = time.monotonic()
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                # A server that ends watches at once must not be asked in a tight loop.
                if time.monotonic() - started >= self._backoff[0]:
                    continue
                self._failures += 1
            except ApiError as error:
                self._failed(error)
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"
                self._failures += 1
                log.exception("%s: list or watch failed", self.resource.plural)
            await asyncio.sleep(self._pause())

    def _failed(self, error: ApiError) -> None:
        self._failures += 1
        if error.status == 410:
            log.info("%s: version %s is forgotten, listing", self.resource.plural, self._version)
            self._version = None
            return
        refused = error.status not in (0, 401, 403, 429, 503)
        if refused and self._failures >= FAILURES_UNTIL_LIST:
            self._version = None
        # A cut or stalled connection is the network's everyday life; only what lasts is an error.
        if error.status or self._failures > 1:
            self.last_error = str(error)
            log.warning(
                "%s: list or watch failed %d times: %s", self.resource.plural, self._failures, error
            )

    def _pause(self) -> float:
        first, most = self._backoff
        seconds = min(most, first * 2.0 ** min(max(self._failures - 1, 0), 16))
        return seconds * random.uniform(0.5, 1.0)

    def _succeeded(self) -> None:
        self.last_activity = time.monotonic()
        self.last_error = None
        self._failures = 0

    async def _list(self) -> None:
        """Read the whole list into the store."""
        # With any resourceVersion, "0" above all, a server may answer from a cache of the past, and
        # an attempt begin beside pods that it does not show. Without, the answer is of now:
        # https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
        self.lists += 1
        limit = PAGE
        while True:
            listed: dict[Key, tuple[Known, T]] = {}
            params = {**self._select, "limit": str(limit)} if limit else dict(self._select)
            try:
                while True:
                    page = await self._client.get(self._path, params, timeout=LIST_TIMEOUT)
                    self.last_activity = time.monotonic()
                    listed |= self.store.trimmed(page.get("items") or ())
                    metadata = page["metadata"]
                    del page  # Or it would be kept until the next one is there and parsed.
                    if not metadata.get("continue"):
                        break
                    params["continue"] = metadata["continue"]
                break
            except ApiError as error:
                if error.status != 410 or not limit:
                    raise
                # The pages took so long that their version is forgotten: all at once, then.
                limit = 0
        await self.store.replace(listed, metadata["resourceVersion"])
        self._version = metadata["resourceVersion"]
        self._succeeded()
        self._synced.set()
        log.info("%s: listed %d", self.resource.plural, len(listed))

    async def _watch(self) -> None:
        """Apply events until the server ends the watch."""
        self.watches += 1
        params = {
            **self._select,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        lines = self._client.stream(self._path, params, idle=self._idle_seconds)
        try:
            async with asyncio.timeout(None) as self._watching:
                async for line in lines:
                    if line:
                        self._apply(line)
        except TimeoutError:
            pass  # request_list
        finally:
            self._watching = None
            await lines.aclose()

    def _apply(self, line: bytes) -> None:
        try:
            event = orjson.loads(line)
            kind, raw = event["type"], event["object"]
            version = "" if kind == "ERROR" else raw["metadata"]["resourceVersion"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise ApiError(0, "NotJSON", f"a line of the watch is no event: {error}") from error
        if kind == "ERROR":
            raise ApiError.from_status(500, raw)
        self.events += 1
        try:
            if kind == "DELETED":
                self.store.delete(raw)
            elif kind in ("ADDED", "MODIFIED"):
                self.store.upsert(raw)
        except Exception:
            log.exception("%s: an event can't be applied", self.resource.plural)
        if self._version is not None and not is_older(version, self._version):
            self._version = version
        self._succeeded()
