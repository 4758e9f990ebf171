"""Heartbeat: the processes of a group hear that each other live, and none waits for a dead one.

A process that is stopped, or whose machine is cut off, closes no connection: a collective waits for
it until the rendezvous' timeout, half an hour. So a thread of each process counts up in the
rendezvous' store, as the keep-alives of torch elastic and the heartbeat of NCCL's watchdog do, and
reads the others' counts. It goes on through long steps and evaluations, which a shorter timeout of
the collectives would end.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lepton.errors import InputError, PeerLostError
from lepton.reporting.last_word import error_report, process_rank
from lepton.reporting.reporter import REPORTER

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

PATIENCE_VARIABLE = "LEPTON_PEER_PATIENCE"
"""Environment variable with the seconds of silence after which a process counts as lost."""
PATIENCE = 8.0
"""Those seconds, where the environment names none."""
BEAT = 1.0
"""Seconds between two counts."""
LOOK = 0.5
"""Seconds between two looks at who is silent."""
PAUSE = 2.0
"""A look that comes so many seconds late was held up together with the beats: this process was
stopped, or something held Python's interpreter. What it did not hear then says nothing."""
LEAVING = 2.0
"""Seconds for the last beat, which a store that does not answer can't take."""
LEFT = b"left"


class Silence:
    """Which ranks have been silent for too long, by this process's clock."""

    def __init__(self, rank: int, size: int, patience: float, now: float) -> None:
        self._rank = rank
        self._patience = patience
        self._counts = [b""] * size
        self._heard = [now] * size
        self._answered = self._looked = now

    def hear(self, counts: Sequence[bytes], now: float) -> None:
        """Take what the store answered."""
        for rank, (old, new) in enumerate(zip(self._counts, counts, strict=True)):
            if old != new:
                self._heard[rank] = now
        self._counts = list(counts)
        self._answered = now

    def lost(self, now: float) -> int | None:
        """The first rank that counts as lost, if any.

        The store is in the first process: while it does not answer, nothing is known of others.
        """
        if now - self._looked > LOOK + PAUSE:
            self._heard = [now] * len(self._heard)
            self._answered = now
        self._looked = now
        if now - self._answered > self._patience and self._is_watched(0):
            return 0
        silent = (
            rank
            for rank, heard in enumerate(self._heard)
            if self._is_watched(rank) and self._answered - heard > self._patience
        )
        return next(silent, None)

    def _is_watched(self, rank: int) -> bool:
        return rank != self._rank and self._counts[rank] != LEFT


class Heartbeat:
    """This process's beats, from the rendezvous until `stop`, and its ear for the others'.

    When one falls silent, `end` is called, in a thread, with the error that names it.
    """

    def __init__(
        self,
        store: "Store",
        rank: int,
        size: int,
        end: Callable[[PeerLostError], None] | None = None,
    ) -> None:
        """`store` is the heartbeat's own: a call that waits blocks its other users. Raises
        InputError for a patience that is no number of seconds."""
        self._store = store
        self._rank = rank
        self._size = size
        self._patience = _patience()
        self._end = end or end_process
        self._leaves = False
        self._stop = threading.Event()
        self._keys = [f"lepton/heartbeat/{one}" for one in range(size)]
        store.set(self._keys[rank], "0")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, failed: bool) -> None:
        """Beat no more. Others don't miss this process, unless it failed."""
        self._leaves = not failed
        self._stop.set()
        self._thread.join(LEAVING)

    def _run(self) -> None:
        # Whoever is not there yet is the rendezvous' business.
        with contextlib.suppress(RuntimeError):
            self._store.wait(self._keys)
            silence = Silence(self._rank, self._size, self._patience, time.monotonic())
            watch = threading.Thread(target=self._watch, args=(silence,), daemon=True)
            watch.start()
            self._beat(silence)

    def _beat(self, silence: Silence) -> None:
        """In a thread of its own: a store whose process is stopped never answers."""
        key = self._keys[self._rank]
        beats = 0
        while not self._stop.wait(BEAT):
            beats += 1
            self._store.set(key, str(beats))
            silence.hear(self._store.multi_get(self._keys), time.monotonic())
        if self._leaves:
            self._store.set(key, LEFT.decode())

    def _watch(self, silence: Silence) -> None:
        while not self._stop.wait(LOOK):
            rank = silence.lost(time.monotonic())
            if rank is not None:
                self._end(
                    PeerLostError(
                        f"another worker process ended or is unreachable: rank {rank} of "
                        f"{self._size} has given no sign of life for {self._patience:g} s; it is "
                        f"stopped, out of CPU or memory, or cut off from the network",
                        silent=rank,
                    )
                )
                return


def end_process(error: PeerLostError) -> None:
    """End this process with its last word: the main thread may be in a collective that nothing
    interrupts."""
    REPORTER.write_last_word(error_report(error, secondary=True))
    print(f"rank {process_rank()}: error: {error}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _patience() -> float:
    text = os.environ.get(PATIENCE_VARIABLE) or str(PATIENCE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= 3 * BEAT:
        raise InputError(f"{PATIENCE_VARIABLE} must be {3 * BEAT:g} seconds or more, not {text!r}")
    return seconds
