"""One line for every step with its elapsed time, on a terminal and in a plain log alike."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# A log that is silent for longer looks dead.
PLAIN_INTERVAL = 15.0
TERMINAL_INTERVAL = 0.2


class Step:
    """A step under way; `detail` may be changed while it runs."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.detail = ""


class Progress:
    """Prints to stderr, so that stdout stays free for results."""

    def __init__(self, quiet: bool = False) -> None:
        self.start = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.quiet = quiet

    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def line(self, text: str) -> None:
        if self.quiet:
            return
        print(f"{self.elapsed():6.1f} s  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        step = Step(title)
        began = time.monotonic()
        done = threading.Event()

        def show() -> None:
            while not done.wait(TERMINAL_INTERVAL if self.terminal else PLAIN_INTERVAL):
                detail = f": {step.detail}" if step.detail else ""
                text = f"{self.elapsed():6.1f} s  {step.title}{detail} …"
                if self.terminal:
                    print(f"\r\033[K{text[:110]}", end="", file=sys.stderr, flush=True)
                else:
                    print(text, file=sys.stderr, flush=True)

        painter = threading.Thread(target=show, daemon=True)
        if not self.quiet:
            painter.start()
        outcome = "failed"
        try:
            yield step
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            done.set()
            if not self.quiet:
                painter.join()
            if self.terminal and not self.quiet:
                print("\r\033[K", end="", file=sys.stderr)
            took = time.monotonic() - began
            mark = "" if outcome == "done" else f" {outcome}"
            detail = f" ({step.detail})" if step.detail else ""
            self.line(f"{step.title}{mark}{detail} [{took:.1f} s]")
