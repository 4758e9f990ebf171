"""What a person sees of training: one changing line on a terminal, a line now and then in a log."""

import sys
import time
from typing import TextIO

from lepton.spec.report import Progress

LOG_INTERVAL = 10.0
TERMINAL_INTERVAL = 0.2


def duration(seconds: float) -> str:
    """Such as 42s, 2m30s, 1h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def progress_line(progress: Progress) -> str:
    """`step 45,056 of 100,000 (45%) · 812 episodes · reward 143.2 · 41,200 steps/s · 1s left`."""
    parts = [f"step {progress.step:,}"]
    if progress.total_steps:
        parts[0] += f" of {progress.total_steps:,}"
    if progress.episodes is not None:
        total = f" of {progress.total_episodes:,}" if progress.total_episodes else ""
        parts.append(f"{progress.episodes:,}{total} episodes")
    fraction = progress.fraction
    if fraction is not None:
        parts[0 if progress.total_steps else -1] += f" ({fraction:.0%})"
    reward = progress.metrics.get("episode_reward_mean")
    if reward is not None:
        parts.append(f"reward {reward:.1f}")
    evaluated = progress.metrics.get("evaluation_reward_mean")
    if evaluated is not None:
        parts.append(f"evaluated {evaluated:.1f}")
    if progress.steps_per_second:
        parts.append(f"{progress.steps_per_second:,.0f} steps/s")
    return " · ".join(parts)


class Console:
    """Writes progress to stderr, or nowhere when switched off."""

    def __init__(self, enabled: bool, stream: TextIO | None = None) -> None:
        self._enabled = enabled
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._last = time.monotonic() - (LOG_INTERVAL - 2.0)
        self._line_open = False

    def progress(self, progress: Progress) -> None:
        """Show progress if the last time is long enough ago."""
        now = time.monotonic()
        interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        if not self._enabled or now - self._last < interval:
            return
        self._last = now
        if self._terminal:
            self._stream.write(f"\r\033[K{progress_line(progress)}")
            self._line_open = True
        else:
            self._stream.write(progress_line(progress) + "\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if not self._enabled:
            return
        if self._line_open:
            self._stream.write("\r\033[K")
            self._line_open = False
        self._stream.write(text + "\n")
        self._stream.flush()
