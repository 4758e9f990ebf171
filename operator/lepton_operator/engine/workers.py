"""Workers that take keys from a queue and reconcile them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Generic, TypeVar

from lepton_operator.engine.limits import Clock
from lepton_operator.engine.queue import ShutDownError, WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

TIMEOUT = 60.0
"""Seconds after which a reconcile counts as hung and is cancelled."""


class TryAgain(Exception):  # noqa: N818
    """A key can't be done for now, which is for its back-off to repeat; but it is to be looked at
    again in `look_in` if that is sooner."""

    def __init__(self, text: str, look_in: timedelta | None) -> None:
        super().__init__(text)
        self.look_in = look_in


class Workers(Generic[K]):
    """`count` workers that call `reconcile(key)`, which returns when to look again, in seconds.

    A success resets the key's back-off. An exception is logged in one line (with its traceback
    the first time in a row) and the key retried with back-off. `describe` turns an exception that
    is nobody's fault, such as a conflict, into a text to log without alarm; None means a fault.
    """

    def __init__(
        self,
        queue: WorkQueue[K],
        reconcile: Callable[[K], Awaitable[float | None]],
        *,
        count: int = 16,
        timeout: float = TIMEOUT,
        describe: Callable[[Exception], str | None] = lambda _: None,
        on_done: Callable[[K, float, bool], None] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.last_progress = clock()
        """When a worker last began or finished a key, on the clock."""
        self._queue = queue
        self._reconcile = reconcile
        self._count = count
        self._timeout = timeout
        self._describe = describe
        self._on_done = on_done
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers as tasks of the running loop."""
        if self._tasks:
            raise RuntimeError("the workers run already")
        self.last_progress = self._clock()
        self._tasks = [
            asyncio.create_task(self._work(), name=f"worker-{n}") for n in range(self._count)
        ]

    async def run(self) -> None:
        """Start and work until the queue is shut down; cancelling cancels the workers."""
        self.start()
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._cancel()

    async def stop(self, deadline: float) -> bool:
        """Begin nothing new, and give what is begun `deadline` seconds; then cancel it.

        Returns whether everything was finished in time. Keys that were not begun are dropped.
        """
        self._queue.shut_down(discard=True)
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=deadline)
        if late:
            log.warning("%d reconciles were cancelled after %.0f s", len(late), deadline)
        await self._cancel()
        return not late

    def alive(self, within: float) -> bool:
        """Whether work goes on: in the last `within` seconds keys were handled, or none was due."""
        running = [task for task in self._tasks if not task.done()]
        if self._tasks and not running:
            return False
        idle = not self._queue.processing and self._queue.oldest_wait() < within
        return idle or self._clock() - self.last_progress < within

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except ShutDownError:
                return
            self.last_progress = self._clock()
            try:
                await self._process(key)
            finally:
                self._queue.done(key)
                self.last_progress = self._clock()
            # Passes that wait for nothing, as those over thousands of jobs at a start, would keep
            # the loop from everything else.
            await asyncio.sleep(0)

    async def _process(self, key: K) -> None:
        started = self._clock()
        succeeded = False
        try:
            async with asyncio.timeout(self._timeout) as limit:
                again_in = await self._reconcile(key)
            succeeded = True
            self._queue.forget(key)
            if again_in is not None:
                self._queue.add_after(key, again_in)
        except Exception as error:
            hung = isinstance(error, TimeoutError) and limit.expired()
            self._failed(key, error, hung)
        finally:
            if self._on_done:
                self._on_done(key, self._clock() - started, succeeded)

    def _failed(self, key: K, error: Exception, hung: bool) -> None:
        first = self._queue.failures(key) == 0
        pause = self._queue.retry(key)
        if isinstance(error, TryAgain) and error.look_in is not None:
            pause = min(pause, error.look_in.total_seconds())
            self._queue.add_after(key, pause)
        extra = {"key": str(key), "retry_in": pause}
        known = self._describe(error)
        if known is not None:
            log.info("%s: %s; again in %.1f s", key, known, pause, extra=extra)
            return
        text = f"hung for {self._timeout:.0f} s" if hung else f"{type(error).__name__}: {error}"
        log.error(
            "%s: reconcile failed: %s; again in %.1f s",
            key,
            text,
            pause,
            exc_info=error if first and not hung else None,
            extra=extra,
        )
