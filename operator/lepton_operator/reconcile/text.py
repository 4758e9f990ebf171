"""Words and numbers for people, fit for the API server whatever a pod said."""

import math
import re
import signal

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
NAMED_BY_128 = range(129, 129 + 64)
"""Exit codes by which shells and kubelets tell of signals."""


def one_line(text: str, limit: int) -> str:
    """The text on one line, without control characters, at most `limit` characters."""
    plain = UNPRINTABLE.sub(" ", text).strip()
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def number(value: float) -> str:
    """Six significant digits."""
    return f"{value:.6g}"


def reward(value: float) -> str:
    """A reward as a column shows it."""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """45s, 2m30s, 3h20m, 2d4h."""
    whole = max(0, math.ceil(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"


def exit_text(code: int) -> str:
    """`exited with code 1`, or `was killed by SIGKILL`."""
    number_ = -code if code < 0 else code - 128 if code in NAMED_BY_128 else None
    if number_ is None:
        return f"exited with code {code}"
    try:
        name = signal.Signals(number_).name
    except ValueError:
        name = f"signal {number_}"
    return f"was killed by {name}"


def plural(count: int, noun: str) -> str:
    """`1 worker`, `2 workers`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
