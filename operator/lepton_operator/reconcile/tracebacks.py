"""Finds in the end of a log what a Python program died of, also below torchrun.

Shapes of tracebacks: https://docs.python.org/3/library/traceback.html; of torchrun's report:
torch/distributed/elastic/multiprocessing/errors/__init__.py.
"""

import re
from dataclasses import dataclass, field

TRACEBACK = "Traceback (most recent call last):"
TORCHRUN_ERROR = "ChildFailedError"
PREFIX = re.compile(r"^\[(?P<kind>[A-Za-z_-]*?)(?P<rank>\d+)\]:[ \t]?")
"""What torch and torchrun put before the lines of a process: `[rank1]: `, `[default0]:`."""
EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*(?::(?:\s|$)|$)")
"""First line of an exception: a dotted name, alone or with a colon."""
FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
GROUP_MARKS = re.compile(r"^[ ]*[|+][-+| ]*")
LIBRARY = re.compile(r"(site-packages|dist-packages|/lib/python\d|^<frozen |^<string>)")
REPORT_ROOT = "Root Cause (first observed failure):"
REPORT_FIELD = re.compile(r"^\s{2}(?P<name>rank|exitcode)\s*: (?P<value>.*)$")

LOST_PEER = re.compile(
    r"Connection closed by peer|Connection reset by peer|remote process exited|Broken pipe"
    r"|DistBackendError|DistNetworkError|DistStoreError|recvValue failed|sendBytes failed"
    r"|NCCL (?:communicator was aborted|error: remote)|got signal: 15|Signal 15 \(SIGTERM\)"
)
"""Errors of a process whose peer went away, or that was asked to end (Gloo, NCCL, TCPStore,
torchrun)."""


@dataclass(frozen=True)
class Raised:
    """What a process died of."""

    line: str
    """Last line of the traceback: `ValueError: boom`; "" for a process that left none."""
    where: str | None = None
    """`train.py:12`, the innermost frame outside of libraries."""
    rank: int | None = None
    """Of the process among all processes, where the log tells."""
    exit_code: int | None = None
    """Of the process, where torchrun tells; -9 for a process killed by signal 9."""

    @property
    def secondary(self) -> bool:
        """Whether it tells of another process's end."""
        return bool(LOST_PEER.search(self.line))

    def __str__(self) -> str:
        return f"{self.line} ({self.where})" if self.where else self.line


@dataclass
class _Reader:
    """Reads the tracebacks of one process, line by line."""

    rank: int | None = None
    found: list[Raised] = field(default_factory=list)
    _indent: int | None = None
    _frames: list[tuple[str, int]] = field(default_factory=list)
    _last_was_bare: bool = False

    def read(self, line: str) -> None:
        """Take the next line."""
        at = line.find(TRACEBACK)
        if at >= 0:
            head = line[:at].removesuffix("Exception Group ")
            # In torchrun's report the traceback begins behind a label and goes on at two spaces.
            self._indent = 2 if head.strip().startswith("traceback") else len(head)
            self._frames = []
            self._last_was_bare = False
            return
        if self._last_was_bare and line.strip():
            # `RuntimeError:` with the message on the lines below it.
            last = self.found[-1]
            self.found[-1] = Raised(f"{last.line} {line.strip()}", last.where, last.rank)
            self._last_was_bare = False
            return
        if self._indent is None or not line.strip():
            return
        frame = FRAME.match(line)
        if frame:
            self._frames.append((frame["file"], int(frame["line"])))
            return
        depth = len(line) - len(line.lstrip())
        if depth == self._indent and EXCEPTION.match(line.strip()):
            text = line.strip()
            self.found.append(Raised(text, self._where(), self.rank))
            self._last_was_bare = text.endswith(":")
            self._indent = None

    def _where(self) -> str | None:
        if not self._frames:
            return None
        own = [frame for frame in self._frames if not LIBRARY.search(frame[0])]
        file, number = (own or self._frames)[-1]
        return f"{file.rsplit('/', 1)[-1]}:{number}"


def last_traceback_line(text: str) -> Raised | None:
    """The exception that ended the program, or None when the text holds no traceback.

    Below torchrun it is that of the process that failed first, not torchrun's own. Of a chain of
    exceptions it is the last one, as Python prints it.
    """
    readers: dict[str, _Reader] = {}
    for raw in text.splitlines():
        prefix = PREFIX.match(raw)
        key = prefix[0].strip() if prefix else ""
        if key not in readers:
            readers[key] = _Reader(int(prefix["rank"]) if prefix else None)
        line = raw[prefix.end() :] if prefix else raw
        readers[key].read(GROUP_MARKS.sub(lambda mark: " " * len(mark[0]), line))
    found = [
        raised
        for reader in readers.values()
        for raised in reader.found
        if TORCHRUN_ERROR not in raised.line.split(":")[0]
    ]
    report = _torchrun_report(text)
    if report is not None:
        return _of_rank(found, report)
    primary = [raised for raised in found if not raised.secondary]
    found = primary or found
    return found[-1] if found else None


def _of_rank(found: list[Raised], report: Raised) -> Raised:
    """The traceback that belongs to the process that torchrun names, with its rank and code.

    torchrun names the one that ended first by its whole seconds, which may be a victim.
    """
    named = [r for r in found if r.rank == report.rank] or [r for r in found if r.rank is None]
    primary = [r for r in named if not r.secondary]
    if report.exit_code is not None and report.exit_code < 0:
        # Killed by a signal it left no traceback; what others print is not its.
        return report
    if named and not primary:
        others = [r for r in found if r.rank is not None and not r.secondary]
        if others:
            return others[-1]
    if not named:
        return report
    best = (primary or named)[-1]
    return Raised(best.line, best.where, report.rank, report.exit_code)


def _torchrun_report(text: str) -> Raised | None:
    """The root cause that torchrun reports; None where it reports none."""
    at = text.rfind(REPORT_ROOT)
    if at < 0:
        return None
    told: dict[str, str] = {}
    for raw in text[at:].splitlines():
        match = REPORT_FIELD.match(PREFIX.sub("", raw))
        if match:
            told.setdefault(match["name"], match["value"].strip())
    rank = re.match(r"\d+", told.get("rank", ""))
    code = re.match(r"-?\d+", told.get("exitcode", ""))
    if rank is None or code is None:
        return None
    # The report's own words repeat the code or stand for a traceback that is elsewhere.
    return Raised("", None, int(rank[0]), int(code[0]))


def last_line(text: str) -> str | None:
    """The last line that says anything; what a program that is not Python's died with."""
    lines = [PREFIX.sub("", line).strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), None)
