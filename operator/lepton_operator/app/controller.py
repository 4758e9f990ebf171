"""The composition root: makes the parts, connects them, runs them, and stops them in order."""

import asyncio
import logging
import signal
from dataclasses import replace
from typing import Any

from lepton_operator.api.scheduling import Gang
from lepton_operator.app import garbage, probes, shell
from lepton_operator.app.caches import Caches, Key
from lepton_operator.app.discovery import offered_gangs, require_training_jobs
from lepton_operator.app.metrics import Metrics, StateCollector
from lepton_operator.app.options import Options
from lepton_operator.app.reconciler import Reconciler
from lepton_operator.app.resources import TRAINING_JOBS
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.effects import Effects, NotLeader
from lepton_operator.engine.lease import LeaderElection
from lepton_operator.engine.queue import WorkQueue
from lepton_operator.engine.resync import KeyAudit, Resync
from lepton_operator.engine.workers import TryAgain, Workers
from lepton_operator.progress.board import Board
from lepton_operator.progress.collector import Collector
from lepton_operator.progress.fetch import DirectFetch, ProxyFetch
from lepton_operator.progress.pacing import Pacer

log = logging.getLogger(__name__)

STALLED_SECONDS = 120.0
"""Without a sign of work for so long the process counts as dead, and the kubelet restarts it."""
PROGRESS_SHARE = 0.45
"""Of the writes, for each job's progress in turn. What comes late is written again sooner, so that
it takes about half of them while thousands start."""
DRAIN_SECONDS = 20.0
KOPF_SECONDS = 3.0
"""For its end, when all that matters has ended."""
CHILDREN_SELDOM = 5
"""Children are compared with a list of them so many times less often than training jobs: there are
more of them, and no watch of theirs has gaps by design."""


def nobodys_fault(error: Exception) -> str | None:
    """Errors that need no alarm: what is to be done is done again."""
    return str(error) if isinstance(error, ApiError | NotLeader | TryAgain) else None


class Controller:
    """Everything that runs in the operator's process."""

    def __init__(self, client: Client, options: Options, gangs: frozenset[Gang]) -> None:
        self._client = client
        self._options = options
        self._metrics = Metrics()
        # Namespaces take turns: a crowd of jobs in one holds up no other.
        self._queue: WorkQueue[Key] = WorkQueue(group=lambda key: key[0])
        self._caches = Caches(
            client,
            options.namespace,
            self._queue.add,
            gangs,
            CHILDREN_SELDOM * options.audit_seconds,
        )
        self._listed = asyncio.Event()
        self._gap = asyncio.Event()
        """Whether the watch of training jobs had a gap that nobody has looked into."""
        self._lease = LeaderElection(client, options.lease_namespace, options.lease_name)
        self._effects = Effects(
            client,
            rate=options.write_rate,
            burst=int(options.write_rate * 2),
            is_leader=lambda: self._lease.is_leader,
            metrics=self._metrics,
        )
        self._board: Board[Key] = Board()
        self._pacer: Pacer[Key] = Pacer(
            minimum=options.progress_seconds,
            writes_per_second=PROGRESS_SHARE * options.write_rate,
            unfinished=self._caches.unfinished,
        )
        self._fetch: DirectFetch | ProxyFetch = (
            DirectFetch(options.settings.progress_port)
            if options.in_cluster
            else ProxyFetch(client, options.settings.progress_port)
        )
        self._collector = Collector(
            first_workers=self._caches.first_workers,
            fetch=self._fetch,
            board=self._board,
            pacer=self._pacer,
            on_news=self._queue.add,
            now=client.clock.now,
        )
        self._reconciler = Reconciler(
            client=client,
            caches=self._caches,
            effects=self._effects,
            board=self._board,
            pacer=self._pacer,
            settings=replace(options.settings, gangs=gangs),
            metrics=self._metrics,
        )
        self._workers = Workers(
            self._queue,
            self._reconciler.reconcile,
            count=options.workers,
            describe=nobodys_fault,
            on_done=lambda key, seconds, ok: self._metrics.on_reconcile(ok, seconds),
        )
        self._audit = KeyAudit(
            client,
            TRAINING_JOBS,
            self._caches.training_jobs.known,
            namespace=options.namespace,
            on_unknown=self._read_later,
            on_stale=self._read_later,
            on_missing=self._caches.training_job_gone,
            interval=options.audit_seconds,
        )
        self._unread: asyncio.Queue[Key] = asyncio.Queue()
        self._failed = False
        self._resync = Resync(self._caches.training_jobs.keys, self._queue)
        self._metrics.registry.register(
            StateCollector(
                jobs=self._caches.training_jobs.values,
                queue_length=lambda: len(self._queue),
                is_leader=lambda: self._lease.is_leader,
                unsynced=self._unready,
                tasks=lambda: len(asyncio.all_tasks()),
            )
        )

    async def run(self) -> int:
        """Run until a signal or until leadership is lost; returns the exit code."""
        stop, watching = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        watch = shell.Watch(
            on_seen=self._caches.training_jobs.upsert,
            on_deleted=self._caches.training_jobs.delete,
            on_restart=self._gap.set,
            namespace=self._options.namespace,
        )
        server = await probes.serve(
            self._options.port,
            unhealthy=self._unhealthy,
            unready=self._unready,
            registry=self._metrics.registry,
        )
        background = [
            asyncio.create_task(coroutine, name=name)
            for name, coroutine in (
                *((f"reflector {kind}", r.run()) for kind, r in self._caches.reflectors.items()),
                ("audit", self._audit_jobs(watching)),
                ("audit after a gap", self._audit_after_gaps()),
                *(("audit of children", audit.run()) for audit in self._caches.audits),
                ("reader", self._read_jobs()),
                ("lease", self._lease.run()),
                ("lead", self._lead()),
                ("stop on loss", self._stop_on_loss(stop)),
            )
        ]
        kopf = asyncio.create_task(watch.run(watching), name="watch")
        for task in (*background, kopf):
            task.add_done_callback(lambda done: self._stop_on_failure(done, stop))
        try:
            await stop.wait()
        finally:
            log.info("stopping")
            watch.stop()
            await self._workers.stop(DRAIN_SECONDS)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._lease.stop()
            await self._fetch.close()
            await server.cleanup()
            await asyncio.wait([kopf], timeout=KOPF_SECONDS)
        return 1 if self._lease.lost.is_set() or self._failed else 0

    async def _lead(self) -> None:
        """Work on jobs, but only as the leader and with full caches."""
        await garbage.spare(self._filled())
        await self._lease.wait_leading()
        log.info("leading", extra={"identity": self._lease.identity})
        # A key of no job is looked at as that of one that has gone.
        for key in (*self._caches.training_jobs.keys(), *self._caches.idle_services()):
            self._queue.add(key)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._workers.run())
            group.create_task(self._collector.run())
            group.create_task(self._resync.run())

    async def _filled(self) -> None:
        await asyncio.gather(*(r.wait_synced() for r in self._caches.reflectors.values()))
        await self._listed.wait()

    async def _stop_on_loss(self, stop: asyncio.Event) -> None:
        await self._lease.lost.wait()
        log.error("leadership is lost; this process ends so that another one can be sure of it")
        stop.set()

    def _stop_on_failure(self, done: asyncio.Task[Any], stop: asyncio.Event) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._failed = True
            log.error("%s ended: %s", done.get_name(), error, exc_info=error)
            stop.set()

    async def _audit_jobs(self, watching: asyncio.Event) -> None:
        """Once kopf watches, make sure that it told of every job; then compare now and then."""
        await watching.wait()
        while not self._listed.is_set():
            try:
                await self._audit.audit()
                await self._unread.join()
                self._listed.set()
            except ApiError as error:
                log.warning("training jobs can't be listed: %s", error)
                await asyncio.sleep(2)
        await self._audit.run()

    async def _audit_after_gaps(self) -> None:
        """kopf tells of all that is there when it begins anew, and not of what went meanwhile."""
        while True:
            await self._gap.wait()
            self._gap.clear()
            try:
                await self._audit.audit()
            except ApiError as error:
                log.warning("training jobs can't be compared with a list of them: %s", error)
                await asyncio.sleep(2)
                self._gap.set()

    def _read_later(self, key: Key) -> None:
        self._unread.put_nowait(key)

    async def _read_jobs(self) -> None:
        """Read jobs that the watch has not told of, or not the latest version of."""
        while True:
            key = await self._unread.get()
            try:
                self._caches.training_jobs.upsert(await self._client.get(TRAINING_JOBS.path(*key)))
            except ApiError as error:
                if error.status == 404:
                    self._caches.training_job_gone(key)
                else:
                    log.warning("%s/%s can't be read: %s", *key, error)
            finally:
                self._unread.task_done()

    def _unready(self) -> list[str]:
        problems = [
            f"cache of {kind} is not filled: {reflector.last_error or 'listing'}"
            for kind, reflector in self._caches.reflectors.items()
            if not reflector.synced
        ]
        if not self._listed.is_set():
            problems.append("training jobs have not been listed")
        return problems

    def _unhealthy(self) -> list[str]:
        if self._lease.is_leader and not self._workers.alive(STALLED_SECONDS):
            return [f"no job has been worked on for {STALLED_SECONDS:.0f} s although some wait"]
        return []


async def run(options: Options) -> int:
    """Connect and run the operator; returns the exit code."""
    client = await Client.connect()
    try:
        await require_training_jobs(client)
        gangs = await offered_gangs(client)
        log.info("gangs on offer", extra={"gangs": sorted(gangs)})
        return await Controller(client, options, gangs).run()
    finally:
        await client.close()
