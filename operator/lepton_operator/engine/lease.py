"""Leader election over a coordination.k8s.io/v1 Lease (KEP-589), with client-go's timing.

Two clocks never meet: whether another holder is alive is told by how long, on our own monotonic
clock, its record has not changed; the times in the record are for people. We hold the lease until
`renew_deadline` after the START of the last renewal that succeeded, which is before another may
take it: the other waits `lease_duration` from when it saw that renewal. `is_leader` compares with
the clock when it is read, so a process that was paused or blocked knows at once that it is late.
"""

import asyncio
import logging
import os
import random
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lepton_operator.engine.client import Client
from lepton_operator.engine.clock import boot_clock
from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.limits import Clock
from lepton_operator.engine.resources import Resource

log = logging.getLogger(__name__)

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")


def default_identity() -> str:
    """The pod's name in a pod, else the host's with something unique.

    In a pod, a holder of the same name was an earlier process of this very pod, and is dead.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return os.environ.get("POD_NAME") or socket.gethostname()
    return f"{socket.gethostname()}_{uuid.uuid4()}"


class LeaderElection:
    """Runs for a lease, holds it once, and never again after losing it: then the process ends.

    `identity` must be unique among living processes; one that is found in the lease is taken as
    our own, so that a restarted container need not wait. All times are seconds.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        identity: str | None = None,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        clock: Clock = boot_clock,
        on_change: Callable[[str | None], None] | None = None,
    ) -> None:
        if not lease_duration > renew_deadline > 2 * retry_period > 0:
            raise ValueError("must be: lease_duration > renew_deadline > 2 * retry_period > 0")
        self.identity = identity or default_identity()
        self.lost = asyncio.Event()
        self.holder: str | None = None
        """Who held the lease when it was last read."""
        self.last_error: str | None = None
        self._client = client
        self._path = LEASES.path(namespace, name)
        self._collection = LEASES.path(namespace)
        self._metadata = {"namespace": namespace, "name": name}
        self._lease_duration = lease_duration
        self._renew_deadline = renew_deadline
        self._retry_period = retry_period
        self._clock = clock
        self._on_change = on_change
        self._leading = asyncio.Event()
        self._stopped = False
        self._until: float | None = None
        self._lease: dict[str, Any] | None = None
        self._version: str | None = None
        self._current = False  # whether `_lease` is what the server has, as far as we know
        self._holders_duration = lease_duration
        self._call_limit = renew_deadline / 3
        self._unchanged_since = clock()
        self._lock = asyncio.Lock()

    @property
    def is_leader(self) -> bool:
        """Whether we hold the lease at this moment."""
        return (
            self._until is not None
            and not self._stopped
            and not self.lost.is_set()
            and self._clock() < self._until
        )

    async def wait_leading(self) -> None:
        """Wait until the lease is ours for the first time."""
        await self._leading.wait()

    async def run(self) -> None:
        """Try to get the lease, then keep it. Returns when it is lost, or after `stop`."""
        while not self._stopped:
            led = self._until is not None
            if led and not self.is_leader:
                self._lose()
                return
            async with self._lock:
                if not self._stopped:
                    await self._attempt()
            if led and not self.is_leader and not self._stopped:
                self._lose()
                return
            await asyncio.sleep(self._pause())

    async def stop(self) -> None:
        """Stop leading, and give the lease back so that another can take it at once.

        Nothing may be written any more when this is called: finish, then stop.
        """
        was_leader = self.is_leader
        self._stopped = True
        async with self._lock:
            if not was_leader:
                return
            try:
                if not self._current:
                    await self._read(self._call_limit)
                if self._lease is None or self.holder != self.identity:
                    return
                await self._put(self._lease, holder="", duration=1, limit=self._call_limit)
                log.info("lease %s released", self._metadata["name"])
            except ApiError as error:
                log.warning("lease %s not released: %s", self._metadata["name"], error)

    def _pause(self) -> float:
        """Until the next attempt, but not beyond the lease's end; jitter keeps rivals apart."""
        pause = self._retry_period * random.uniform(0.8, 1.2)
        if self._until is not None:
            pause = min(pause, max(0.0, self._until - self._clock()))
        return pause

    def _lose(self) -> None:
        self.lost.set()
        log.error("lease %s lost: %s", self._metadata["name"], self.last_error or "not renewed")

    async def _attempt(self) -> None:
        """Renew our lease, or take it if it is free. Failures end up in `last_error`."""
        limit = self._call_limit
        if self._until is not None:
            limit = max(0.05, min(limit, self._until - self._clock()))
        try:
            async with asyncio.timeout(limit):
                try:
                    await self._renew_or_take(limit)
                except ApiError as error:
                    if error.status not in (404, 409) or self._until is None:
                        raise
                    # Most likely our last renewal was stored and its answer lost, or somebody
                    # deleted the lease: read and see.
                    await self._renew_or_take(limit)
            self.last_error = None
        except ApiError as error:
            self.last_error = str(error)
        except TimeoutError:
            self.last_error = "no answer in time"
        except Exception as error:
            self.last_error = f"{type(error).__name__}: {error}"
            log.exception("lease %s: attempt failed", self._metadata["name"])

    async def _renew_or_take(self, limit: float) -> None:
        if self._until is None or not self._current:
            await self._read(limit)
        if not self._is_free():
            if self._until is not None:
                self._until = self._clock()
                self.last_error = f"{self.holder} took it"
            return
        started = self._clock()
        self._current = False
        if self._lease is None:
            stored = await self._create(limit)
        else:
            stored = await self._put(self._lease, self.identity, self._lease_duration, limit)
        self._observe(stored)
        self._current = True
        if self._until is not None and self._clock() >= self._until:
            return  # too late: what relied on the lease has seen it end
        if self._until is None:
            log.info("lease %s is ours: %s", self._metadata["name"], self.identity)
        self._until = started + self._renew_deadline
        self._leading.set()

    def _is_free(self) -> bool:
        """Whether nobody holds the lease, we do, or its holder has been silent for too long.

        That it was deleted is no proof that its holder has noticed.
        """
        if self.holder in ("", None, self.identity):
            return True
        return self._clock() - self._unchanged_since >= self._holders_duration

    async def _read(self, limit: float) -> None:
        try:
            self._observe(await self._client.get(self._path, timeout=limit, urgent=True))
        except ApiError as error:
            if error.status != 404:
                raise
            self._lease = None

    def _observe(self, lease: dict[str, Any]) -> None:
        """Take in the lease as it was read, and since when it is like this."""
        self._lease = lease
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if version != self._version:
            self._version = version
            self._unchanged_since = self._clock()
        self._holders_duration = float(spec.get("leaseDurationSeconds") or self._lease_duration)
        holder = spec.get("holderIdentity")
        if holder != self.holder:
            self.holder = holder
            if self._on_change:
                self._on_change(holder)

    def _spec(self, old: dict[str, Any], holder: str, duration: float) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        taken = old.get("holderIdentity") != holder
        transitions = old.get("leaseTransitions") or 0
        return {
            **old,
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration)),
            "renewTime": now,
            "acquireTime": now if taken else old.get("acquireTime", now),
            "leaseTransitions": transitions + (1 if taken and holder and old else 0),
        }

    async def _create(self, limit: float) -> dict[str, Any]:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": self._metadata,
            "spec": self._spec({}, self.identity, self._lease_duration),
        }
        return await self._client.post(self._collection, body, timeout=limit, urgent=True)

    async def _put(
        self, lease: dict[str, Any], holder: str, duration: float, limit: float
    ) -> dict[str, Any]:
        """PUT with the version that was read: of two who try, one gets a 409."""
        body = {**lease, "spec": self._spec(lease.get("spec") or {}, holder, duration)}
        return await self._client.put(self._path, body, timeout=limit, urgent=True)
