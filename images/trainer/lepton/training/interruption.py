"""SIGTERM: training ends at a point from which it can go on; everything else ends at once."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 128 + signal.SIGTERM
GRACE = 25.0
"""Seconds after which the process ends whatever it is doing; Kubernetes kills it after 30."""


class StopRequest:
    """Whether the process was asked to end, and since when."""

    def __init__(self) -> None:
        self.requested_at: float | None = None
        self._graceful = False
        self._installed = False

    @property
    def requested(self) -> bool:
        """Whether SIGTERM came."""
        return self.requested_at is not None

    @property
    def age(self) -> float:
        """Seconds since SIGTERM came; 0 when it did not."""
        return 0.0 if self.requested_at is None else time.monotonic() - self.requested_at

    def install(self) -> None:
        """Handle SIGTERM from now on; only in the main thread, and only once.

        Python runs signal handlers between its own instructions, so never while the main thread
        waits for a rendezvous or a peer. The wake-up socket works even then.
        """
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = True
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        self._sockets = reader, writer
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()

    def _watch(self, reader: socket.socket) -> None:
        while True:
            numbers = reader.recv(64)
            if signal.SIGTERM in numbers:
                break
        self.requested_at = time.monotonic()
        deadline = self.requested_at + GRACE
        while self._graceful and time.monotonic() < deadline:
            time.sleep(0.05)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_CODE)

    @contextmanager
    def graceful(self) -> Iterator["StopRequest"]:
        """Within, the process does not end at once, but is trusted to look at `requested`."""
        before, self._graceful = self._graceful, True
        try:
            yield self
        finally:
            self._graceful = before


STOP = StopRequest()
"""The request to this process."""
