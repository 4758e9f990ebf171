"""kopf: logs in and watches LeptonTrainingJobs. Its handlers can't raise.

Handlers only hand an object on. Everything else (children, writes, retries, time) is the
engine's, because kopf drops an event whose patch failed, and never reports objects that were
deleted while its watch had a gap.
"""

import asyncio
import contextlib
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import kopf
import uvloop

from lepton_operator.api import names
from lepton_operator.engine.client import PAGE

log = logging.getLogger(__name__)

GOOD_WATCH_SECONDS = 30.0
"""kopf that ran for so long has worked; what it fails of later is another failure."""
MAX_FAILURES = 5
"""In a row, before it is somebody else's to decide: the process ends."""


def endless_backoffs() -> Iterator[float]:
    """1, 2, 4, ... 30 seconds and 30 ever after, each with jitter: kopf must never give up."""
    for attempt in itertools.count():
        yield min(30.0, 2.0 ** min(attempt, 5)) * random.uniform(0.5, 1.0)


class EndlessBackoffs:
    """An iterable that starts anew for every request."""

    def __iter__(self) -> Iterator[float]:
        return endless_backoffs()


class NothingCompared(kopf.DiffBaseStorage):
    """Of what an object was before, nothing is kept: kopf would copy all of it at each event, and
    only handlers that we don't have look at the differences."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """Nothing to compare."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


def kopf_settings() -> kopf.OperatorSettings:
    """Settings under which kopf watches and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1.0
    # In one piece, all jobs would be parsed at once, which no other thread can interrupt.
    settings.watching.chunk_size = PAGE
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = NothingCompared()
    settings.process.ultimate_exiting_timeout = 25
    return settings


def registry(
    on_seen: Callable[[dict[str, Any]], None], on_deleted: Callable[[dict[str, Any]], None]
) -> kopf.OperatorRegistry:
    """kopf's handlers: one that logs in, one that hands every watch event on."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**arguments) or kopf.login_via_client(**arguments)

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    async def seen(event: Any, **_: Any) -> None:
        handle = on_deleted if event["type"] == "DELETED" else on_seen
        handle(dict(event["object"]))

    return handlers


class Watch:
    """kopf in a thread with an event loop of its own, started again whenever it fails.

    A watch that is refused (410 Gone, say) or reports an error in band ends kopf as a whole, and
    when it ends it cancels every task of its loop that is younger than itself: our workers, too.
    """

    def __init__(
        self,
        *,
        on_seen: Callable[[dict[str, Any]], None],
        on_deleted: Callable[[dict[str, Any]], None],
        on_restart: Callable[[], None],
        namespace: str | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._registry = registry(
            lambda raw: _tell(loop, on_seen, raw), lambda raw: _tell(loop, on_deleted, raw)
        )
        self._on_restart = on_restart
        self._namespace = namespace
        self._stopped = False
        self._end: Callable[[], None] = lambda: None
        """Ends the kopf that runs now."""

    async def run(self, ready: asyncio.Event) -> None:
        """Watch until `stop`; `ready` is set once kopf has begun. Raises what kopf failed with
        several times in a row."""
        failures = 0
        while not self._stopped:
            started = time.monotonic()
            try:
                await self._once(ready)
                return
            except Exception as error:
                failures = failures + 1 if time.monotonic() - started < GOOD_WATCH_SECONDS else 1
                if failures >= MAX_FAILURES:
                    raise
                log.warning("the watch of training jobs failed, beginning anew: %s", error)
            await asyncio.sleep(2.0 ** (failures - 1) * random.uniform(0.5, 1.0))
            self._on_restart()

    def stop(self) -> None:
        """Have `run` return soon."""
        self._stopped = True
        self._end()

    async def _once(self, ready: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        begun = _Flag(lambda: _tell(loop, ready.set))

        async def live() -> None:
            # A flag of this loop: for others kopf has a thread wait, which outlives its failure.
            stop, ours = asyncio.Event(), asyncio.get_running_loop()
            self._end = lambda: _tell(ours, stop.set)
            if self._stopped:
                stop.set()
            await kopf.operator(
                registry=self._registry,
                settings=kopf_settings(),
                clusterwide=self._namespace is None,
                namespaces=[self._namespace] if self._namespace else [],
                stop_flag=stop,
                ready_flag=begun,
            )

        def work() -> None:
            error: BaseException | None = None
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(live())
            except BaseException as failed:
                error = failed
            _tell(loop, _resolve, ended, error)

        threading.Thread(target=work, name="kopf", daemon=True).start()
        await ended


class _Flag(threading.Event):
    """An event that tells of being set."""

    def __init__(self, on_set: Callable[[], None]) -> None:
        super().__init__()
        self._on_set = on_set

    def set(self) -> None:
        super().set()
        self._on_set()


def _tell(loop: asyncio.AbstractEventLoop, hear: Callable[..., None], *what: Any) -> None:
    """Have something done in another thread's loop, which may have been closed by now."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(hear, *what)


def _resolve(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
