"""The work queue: which keys have to be looked at, and when.

The semantics are client-go's (util/workqueue): a key that waits is there once, however often it is
added; a key is never handed to two workers at once; added while it is being processed, it comes
again afterwards. Failures of one key delay that key alone.
"""

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from lepton_operator.engine.limits import Clock
from lepton_operator.engine.line import Line

K = TypeVar("K", bound=Hashable)

FIRST_RETRY = 0.5
LAST_RETRY = 300.0
"""Seconds before the first retry of a key, doubled each time up to the last; ±25 % at random."""


class Lane(IntEnum):
    """How soon a key is looked at, first lane first."""

    NEW = 0
    """Nothing has been done for it yet: whoever made it waits for it to begin."""
    CHANGED = 1
    BACKGROUND = 2
    """To make sure; nothing is known to have changed."""


PATIENCE = {Lane.CHANGED: 3, Lane.BACKGROUND: 8}
"""After how many keys of better lanes it is this lane's turn, while keys wait in it."""


class ShutDownError(Exception):
    """The queue gives out no more keys."""


class WorkQueue(Generic[K]):
    """A queue for one event loop, with lanes; in a lane the groups of keys take turns (see Line).

    `clock` is monotonic seconds; with a clock of its own, a test moves time and uses `try_get`.
    """

    def __init__(
        self,
        *,
        clock: Clock = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.75, 1.25),
        group: Callable[[K], Hashable] = lambda key: None,
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._lanes = {lane: Line(group, both_ends=lane is Lane.NEW) for lane in Lane}
        """Keys that are ready."""
        self._passed_over = dict.fromkeys(PATIENCE, 0)
        self._processing: dict[K, Lane] = {}
        """The lane that each was taken from."""
        self._again: dict[K, Lane] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._shut_down = False

    def __len__(self) -> int:
        """How many keys are ready and wait for a worker."""
        self._promote()
        return sum(map(len, self._lanes.values()))

    @property
    def processing(self) -> int:
        """How many keys workers are at."""
        return len(self._processing)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    def oldest_wait(self) -> float:
        """Seconds that the key that has been ready for longest has waited; 0 if there is none."""
        self._promote()
        since = (line.oldest() for line in self._lanes.values())
        now = self._clock()
        return max(0.0, now - min((then for then in since if then is not None), default=now))

    def add(self, key: K, lane: Lane = Lane.CHANGED) -> None:
        """Have the key looked at now, as soon as the lane says, or the one that it waits in."""
        if self._shut_down:
            return
        if key in self._processing:
            self._again[key] = min(self._again.get(key, lane), lane)
            return
        since = self._clock()
        for other, line in self._lanes.items():
            if key in line:
                if other <= lane:
                    return
                since = line.remove(key)
        self._lanes[lane].add(key, since)
        self._wake()

    def add_after(self, key: K, seconds: float) -> None:
        """Have the key looked at in `seconds`, unless it is to be looked at earlier anyway."""
        if self._shut_down:
            return
        if seconds <= 0:
            # A worker that is at the key has more to do: it goes on where it was.
            self.add(key, self._processing.get(key, Lane.CHANGED))
            return
        due = self._clock() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._set_timer()

    def retry(self, key: K) -> float:
        """After a failure: have the key looked at after a pause, which is returned in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 16)) * self._jitter()
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """After a success: the next failure counts as the first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often the key failed in a row."""
        return self._failures.get(key, 0)

    def try_get(self) -> K | None:
        """The next key if one is ready; the caller has to call `done` with it."""
        self._promote()
        waiting = [lane for lane in Lane if self._lanes[lane]]
        if not waiting:
            return None
        due = (lane for lane in waiting[1:] if self._passed_over[lane] >= PATIENCE[lane])
        chosen = next(due, waiting[0])
        for lane in self._passed_over:
            passed = lane in waiting and lane != chosen
            self._passed_over[lane] = self._passed_over[lane] + 1 if passed else 0
        key = self._lanes[chosen].take()
        self._processing[key] = chosen
        return key

    async def get(self) -> K:
        """Wait for the next key; the caller has to call `done` with it.

        Raises ShutDownError after shut_down, once all ready keys were given out.
        """
        while True:
            key = self.try_get()
            if key is not None:
                return key
            if self._shut_down:
                raise ShutDownError
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            self._set_timer()
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()  # the wake-up was for whoever is next
                elif getter in self._getters:
                    self._getters.remove(getter)
                raise

    def done(self, key: K) -> None:
        """The worker has finished with the key; it is ready again if it was added meanwhile."""
        self._processing.pop(key, None)
        lane = self._again.pop(key, None)
        if lane is not None:
            self.add(key, lane)

    def shut_down(self, *, discard: bool = False) -> None:
        """Take no more keys and drop the delayed ones. Ready ones are still given out.

        With `discard` they are not either: a level-triggered successor finds them again.
        """
        self._shut_down = True
        self._due.clear()
        self._heap.clear()
        self._again.clear()
        if discard:
            for line in self._lanes.values():
                line.clear()
        if self._timer:
            self._timer.cancel()
        while self._getters:
            self._wake()

    def _promote(self) -> None:
        """Make ready what is due."""
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Wake a getter when the next delayed key is due."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._heap and self._getters:
            loop = asyncio.get_running_loop()
            delay = max(0.0, self._heap[0][0] - self._clock())
            self._timer = loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._promote()
        self._set_timer()
