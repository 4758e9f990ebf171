"""The reporter of this process: holds the latest progress, serves it, and has the last word."""

import atexit
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from lepton.reporting.endpoint import Endpoint, Response
from lepton.reporting.last_word import error_report, process_rank, write_last_word
from lepton.spec.report import (
    MAX_METRICS,
    ErrorReport,
    Evaluation,
    LastWord,
    Progress,
    SavedModel,
)
from lepton.spec.run import PORT_VARIABLE

_log = logging.getLogger("lepton")

SPEED_WINDOW = 10
"""Samples, a second or more apart, over which steps per second are measured."""


def finite_or_none(value: Any) -> float | None:
    """The number, or None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


class Reporter:
    """Latest progress of this process. Updating is cheap; the work is done when it is read."""

    def __init__(self) -> None:
        self._step = 0
        self._total: int | None = None
        self._episodes: int | None = None
        self._total_episodes: int | None = None
        self._metrics: dict[str, float | None] = {}
        self._message: str | None = None
        self._done: float | None = None
        self._speed: deque[tuple[float, int]] = deque(maxlen=SPEED_WINDOW)
        self._next_sample = 0.0
        self._endpoint: Endpoint | None = None
        self._started = False
        self._last_word_written = False
        self.evaluation: Evaluation | None = None
        self.model: SavedModel | None = None

    def update(
        self,
        step: int | None = None,
        total: int | None = None,
        episodes: int | None = None,
        total_episodes: int | None = None,
        message: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        done: float | None = None,
    ) -> None:
        """Replace what is given and keep the rest."""
        if step is not None:
            self._step = max(0, int(step))
            now = time.monotonic()
            if now >= self._next_sample:
                if self._speed and self._step < self._speed[-1][1]:
                    self._speed.clear()  # another phase with its own count
                self._next_sample = now + 1.0
                self._speed.append((now, self._step))
        if total is not None:
            self._total = int(total) or None
        if episodes is not None:
            self._episodes = max(0, int(episodes))
        if total_episodes is not None:
            self._total_episodes = int(total_episodes) or None
        if message is not None:
            self._message = str(message)[:1024]
        if done is not None:
            self._done = done
        if metrics:
            merged = dict(self._metrics)
            for name, value in metrics.items():
                if name in merged or len(merged) < MAX_METRICS:
                    merged[name] = finite_or_none(value)
            self._metrics = merged  # swapped as a whole: the endpoint's thread reads it

    def progress(self) -> Progress:
        """The latest progress."""
        return Progress(
            step=self._step,
            total_steps=self._total,
            episodes=self._episodes,
            total_episodes=self._total_episodes,
            steps_per_second=self._steps_per_second(),
            done=self._done,
            metrics=self._metrics,
            message=self._message,
        )

    def _steps_per_second(self) -> float | None:
        samples = list(self._speed)
        if not samples:
            return None
        begin, first = samples[0]
        elapsed = time.monotonic() - begin
        return max(0.0, (self._step - first) / elapsed) if elapsed >= 0.5 else None

    def start(self) -> None:
        """Serve, if the environment names a port and this process is the one to; have the last
        word at exit. Only the first call does anything. Raises OSError when the port is taken."""
        if self._started:
            return
        self._started = True
        self._chain_exit()
        port = os.environ.get(PORT_VARIABLE)
        if not port:
            return
        if process_rank() == 0:
            routes = {"/progress": self._serve_progress, "/metrics": self._serve_metrics}
        elif os.environ.get("LOCAL_RANK", "0") == "0":
            routes = {}  # another pod's first process: only whether it is alive
        else:
            return
        self._endpoint = Endpoint(int(port), routes | {"/healthz": lambda: ("text/plain", "ok\n")})

    @property
    def port(self) -> int | None:
        """The port that is served, if any."""
        return self._endpoint.port if self._endpoint else None

    def _serve_progress(self) -> Response:
        return "application/json", self.progress().to_json()

    def _serve_metrics(self) -> Response:
        from lepton.reporting.prometheus import exposition

        return "text/plain; version=0.0.4", exposition(self.progress())

    def _chain_exit(self) -> None:
        previous = sys.excepthook

        def hook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            if not issubclass(kind, KeyboardInterrupt):
                self.write_last_word(error_report(error.with_traceback(trace)))
            previous(kind, error, trace)

        sys.excepthook = hook
        atexit.register(self.write_last_word)

    def write_last_word(self, error: ErrorReport | None = None) -> None:
        """Write the termination message, once. Other ranks than 0 have one only for errors."""
        if self._last_word_written:
            return
        self._last_word_written = True
        rank = process_rank()
        if rank != 0 and error is None:
            return
        try:
            write_last_word(
                LastWord(
                    rank=rank,
                    progress=self.progress() if rank == 0 else None,
                    evaluation=self.evaluation,
                    model=self.model,
                    error=error,
                )
            )
        except Exception as failure:
            _log.warning("the termination message could not be written: %s", failure)


REPORTER = Reporter()
"""The reporter of this process."""
