"""Pulls progress from the first worker of every running job, at a rate that suits the writes."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from lepton_operator.progress.board import Board
from lepton_operator.progress.fetch import Fetch, FetchError
from lepton_operator.progress.pacing import Pacer
from lepton_operator.reconcile.observed import PodView

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""(namespace, name) of a job."""


class Collector:
    """One loop that looks every second which pods are due, and pulls from them side by side.

    A pod that does not answer is asked more and more seldom, since many programs never will, and
    its silence is told once: the job's status simply keeps the last figures.
    """

    TICK_SECONDS = 1.0
    EARLY_TICKS = 1.5
    """So long before its progress may be written a pod is asked: a tick may be late by half."""
    IN_FLIGHT = 64
    AT_ONCE = 100
    """Jobs to look at before everything else on the event loop has its turn: with thousands that
    are due in one tick, as at a start, the pulls' tasks alone would keep it for long."""
    MOST_SECONDS = 60.0
    """Between two questions to a pod that does not answer."""

    def __init__(
        self,
        *,
        first_workers: Callable[[], Iterable[tuple[Key, PodView]]],
        fetch: Fetch,
        board: Board[Key],
        pacer: Pacer[Key],
        on_news: Callable[[Key], None],
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first_workers = first_workers
        self._fetch = fetch
        self._board = board
        self._pacer = pacer
        self._on_news = on_news
        self._now = now
        self._clock = clock
        self._due: dict[Key, tuple[str, float]] = {}
        """When to ask again, by job, with the pod's UID: a new pod is asked at once."""
        self._silent: dict[Key, tuple[str, float]] = {}
        """By job, the UID of the pod that does not answer, and since when."""
        self._slots = asyncio.Semaphore(self.IN_FLIGHT)
        self._pulls: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Pull until cancelled."""
        try:
            while True:
                await self._start_due_pulls()
                await asyncio.sleep(self.TICK_SECONDS)
        finally:
            for pull in self._pulls:
                pull.cancel()
            await asyncio.gather(*self._pulls, return_exceptions=True)

    async def _start_due_pulls(self) -> None:
        now = self._clock()
        pods = dict(self._first_workers())
        self._pacer.running = len(pods)
        for key in self._due.keys() - pods.keys():
            del self._due[key]
            self._silent.pop(key, None)
        for number, (key, pod) in enumerate(pods.items(), start=1):
            if number % self.AT_ONCE == 0:
                await asyncio.sleep(0)
            uid, due = self._due.get(key, ("", 0.0))
            if uid == pod.uid and now < due:
                continue
            # What is asked long before it may be written is old by the time it is; what may be
            # written before the next look is asked for now. A new pod is asked at once, and again:
            # its first report waits to be written, and would be, if the second came too late.
            wait, ahead = self._pacer.wait(key), self.EARLY_TICKS * self.TICK_SECONDS
            is_early = wait > ahead
            pause = wait - ahead if is_early else self._period(key, pod.uid, now)
            self._due[key] = (pod.uid, now + pause)
            if is_early and uid == pod.uid:
                continue
            task = asyncio.create_task(self._pull(key, pod))
            self._pulls.add(task)
            task.add_done_callback(self._pulls.discard)

    def _period(self, key: Key, uid: str, now: float) -> float:
        """Seconds until the next question; to a silent pod a quarter of its silence."""
        silent, since = self._silent.get(key, (None, now))
        patience = (now - since) / 4 if silent == uid else 0.0
        return max(self._pacer.period, min(patience, self.MOST_SECONDS))

    async def _pull(self, key: Key, pod: PodView) -> None:
        async with self._slots:
            try:
                progress = await self._fetch(pod)
            except FetchError as error:
                if self._silent.get(key, ("", 0.0))[0] != pod.uid:
                    self._silent[key] = (pod.uid, self._clock())
                    log.info("no progress from pod %s/%s: %s", pod.namespace, pod.name, error)
                return
            finally:
                self._board.asked(key, pod.attempt or 0, self._now())
        self._silent.pop(key, None)
        if self._board.put(key, pod.attempt or 0, progress, self._now()):
            self._on_news(key)
