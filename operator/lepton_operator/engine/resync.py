"""Looking again without a reason: against lost events, bugs, and gaps in a watch."""

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from lepton_operator.engine.client import PAGE, Client
from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.limits import Sleep
from lepton_operator.engine.queue import Lane, WorkQueue
from lepton_operator.engine.resources import Resource
from lepton_operator.engine.versions import Key, Known, identity, is_older

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

INTERVAL = 600.0
STEP_SECONDS = 1.0
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""KEP-2334 (Accept of metadata-only lists): a list without spec and status."""
SETTLE_STEPS, STEP_TO_SETTLE = 10, 0.5
"""What differs is compared again so often, after so many seconds each: a watch may be late."""


class Resync(Generic[K]):
    """Puts every key on the queue once in `interval` seconds, evenly spread, in the background."""

    def __init__(
        self,
        keys: Callable[[], Iterable[K]],
        queue: WorkQueue[K],
        *,
        interval: float = INTERVAL,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._keys = keys
        self._queue = queue
        self._interval = interval
        self._sleep = sleep

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            try:
                await self.round()
            except Exception:
                log.exception("resync failed")
                await self._sleep(self._interval)

    async def round(self) -> None:
        """Add all keys once, over one interval."""
        keys = list(self._keys())
        random.shuffle(keys)
        steps = max(1, int(self._interval / STEP_SECONDS))
        for step in range(steps):
            await self._sleep(self._interval / steps * random.uniform(0.9, 1.1))
            for key in keys[len(keys) * step // steps : len(keys) * (step + 1) // steps]:
                self._queue.add(key, Lane.BACKGROUND)


class KeyAudit:
    """Compares what is known of one kind with a list of keys and versions, every `interval` s.

    For watches that can't be trusted (kopf never tells of an object deleted in a gap of its watch).
    `on_missing` is called for keys that are known but not there any more (or are another object
    now), `on_unknown` for those that are there but not known, `on_stale` for those of which an
    older version is known. All three by default do nothing.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        known: Callable[[], Mapping[Key, Known]],
        *,
        on_missing: Callable[[Key], None] = lambda _: None,
        on_unknown: Callable[[Key], None] = lambda _: None,
        on_stale: Callable[[Key], None] = lambda _: None,
        namespace: str | None = None,
        label_selector: str | None = None,
        interval: float = INTERVAL,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._path = resource.path(namespace)
        self._plural = resource.plural
        self._select = {"labelSelector": label_selector} if label_selector else {}
        self._known = known
        self._on_missing = on_missing
        self._on_unknown = on_unknown
        self._on_stale = on_stale
        self._interval = interval
        self._sleep = sleep

    async def run(self) -> None:
        """Audit until cancelled."""
        while True:
            await self._sleep(self._interval * random.uniform(0.9, 1.1))
            try:
                await self.audit()
            except ApiError as error:
                log.warning("audit of %s failed: %s", self._plural, error)
            except Exception:
                log.exception("audit of %s failed", self._plural)

    async def audit(self) -> int:
        """Compare once; returns how many keys differ and still did a little later.

        Raises ApiError if the list can't be read.
        """
        before = self._known()
        listed, version = await self._list()
        found = self._compare(self._known(), listed, version, before)
        for _ in range(SETTLE_STEPS):
            if not found:
                return 0
            await self._sleep(STEP_TO_SETTLE)
            found = self._compare(self._known(), listed, version, before)
        for key, tell in found.items():
            tell(key)
        if found:
            log.info("audit of %s: %d keys differed", self._plural, len(found))
        return len(found)

    def _compare(
        self,
        known: Mapping[Key, Known],
        listed: Mapping[Key, Known],
        version: str,
        before: Mapping[Key, Known],
    ) -> dict[Key, Callable[[Key], None]]:
        """What differs, and whom to tell.

        Known objects count as missing only if they were known `before` the list already. What is
        known now and newer than the list is no difference.
        """
        found: dict[Key, Callable[[Key], None]] = {}
        for key, have in known.items():
            there = listed.get(key)
            if there is None:
                was_known = key in before and before[key].uid == have.uid
                if was_known and not is_older(version, have.version):
                    found[key] = self._on_missing
            elif there.uid != have.uid:
                if not is_older(there.version, have.version):
                    found[key] = self._on_missing
            elif have.version != there.version and not is_older(there.version, have.version):
                found[key] = self._on_stale
        for key in listed:
            if key not in known and key not in before:
                found[key] = self._on_unknown
        return found

    async def _list(self) -> tuple[dict[Key, Known], str]:
        listed: dict[Key, Known] = {}
        params = {**self._select, "limit": str(PAGE)}
        while True:
            page = await self._client.get(self._path, params, accept=METADATA_ONLY, timeout=60.0)
            listed |= dict(map(identity, page.get("items") or ()))
            if not page["metadata"].get("continue"):
                return listed, page["metadata"]["resourceVersion"]
            params["continue"] = page["metadata"]["continue"]
