"""What the build tool shows: one line per step, with the time it took."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class BuildError(Exception):
    """A step that can't go on; the message says what was wrong and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    say(f"  {what} …")
    start = time.monotonic()
    yield
    say(f"  {what}: {time.monotonic() - start:.1f} s")


def output(
    command: Sequence[str], timeout: float | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Runs a command that should be silent and returns what it printed.

    Raises BuildError with the end of its error output.
    """
    try:
        done = subprocess.run(
            command, text=True, capture_output=True, timeout=timeout, env=env, check=False
        )
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise BuildError(f"{' '.join(command[:3])} did not answer within {timeout:.0f} s") from None
    if done.returncode:
        raise BuildError(f"{' '.join(command[:3])}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def succeeds(command: Sequence[str], timeout: float | None = 20) -> bool:
    try:
        output(command, timeout)
    except BuildError:
        return False
    return True


def follow(
    command: Sequence[str],
    log: Path,
    headline: Callable[[str], str | None],
    env: Mapping[str, str] | None = None,
) -> None:
    """Runs a long command: its whole output goes to `log`, its headlines to the screen.

    Raises BuildError with the last lines of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    last: deque[str] = deque(maxlen=30)
    with log.open("w") as file:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
            )
        except FileNotFoundError:
            raise BuildError(f"{command[0]} is not installed") from None
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                last.append(line)
                head = headline(line)
                if head:
                    say(f"  {time.monotonic() - start:6.1f} s  {head}")
        except KeyboardInterrupt:
            process.terminate()
            raise
        finally:
            process.stdout.close()
            code = process.wait()
    if code:
        sys.stderr.writelines(last)
        raise BuildError(f"{command[0]} failed with exit code {code}; the whole log: {log}")
