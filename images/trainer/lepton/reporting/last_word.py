"""The last word: a process's termination message, which Kubernetes keeps with the pod."""

import contextlib
import fcntl
import os
import site
import sysconfig
import traceback
from types import TracebackType

from lepton.errors import LeptonError, PeerLostError
from lepton.spec.report import TERMINATION_MESSAGE_BYTES, ErrorReport, LastWord
from lepton.spec.run import TERMINATION_LOG_VARIABLE

_LINE_BYTES = 1000
_WHERE_BYTES = 500


def process_rank() -> int:
    """Rank of this process among all, 0 outside of a group."""
    rank = os.environ.get("RANK", "")
    return int(rank) if rank.isdigit() else 0


def error_report(
    error: BaseException, *, secondary: bool = False, invalid: bool = False
) -> ErrorReport:
    """Last line of the error's traceback and the innermost frame outside of libraries.

    An error that lepton raises on purpose is its text alone, and where its cause was raised.
    """
    lines = traceback.format_exception_only(type(error), error)
    # A syntax error is shown before it is named; notes come after.
    named = next(line for line in lines if not line.startswith(" "))
    line = " ".join(named.split())
    trace = error.__traceback__
    if isinstance(error, LeptonError):
        line = " ".join(str(error).split())
        trace = error.__cause__.__traceback__ if error.__cause__ and not secondary else None
    return ErrorReport(
        line=_cut(line, _LINE_BYTES),
        where=_where(trace),
        secondary=secondary,
        silent=error.silent if isinstance(error, PeerLostError) else None,
        invalid=invalid,
    )


def _where(trace: TracebackType | None) -> str | None:
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename[:1] != "<"]
    if not frames:
        return None
    own = [frame for frame in frames if not _is_library(frame.filename)]
    frame = (own or frames)[-1]
    return _cut(f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}", _WHERE_BYTES)


def _is_library(filename: str) -> bool:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), package]
    paths += [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.USER_SITE or ""]
    path = os.path.abspath(filename)
    return any(path.startswith(folder + os.sep) for folder in paths if folder)


def _cut(text: str, size: int) -> str:
    data = text.encode()
    if len(data) <= size:
        return text
    return data[: size - 3].decode(errors="ignore") + "…"


def fit(word: LastWord, size: int = TERMINATION_MESSAGE_BYTES) -> bytes:
    """The last word as JSON of at most `size` bytes. What gives way, in this order: the message,
    metrics from the last on, then all of the progress."""
    data = word.to_json().encode()
    if len(data) <= size:
        return data
    progress = word.progress
    if progress is not None:
        progress = progress.model_copy(update={"message": None})
        metrics = dict(progress.metrics)
        while True:
            shorter = word.model_copy(
                update={"progress": progress.model_copy(update={"metrics": metrics})}
            )
            data = shorter.to_json().encode()
            if len(data) <= size:
                return data
            if not metrics:
                break
            metrics.popitem()
        word = word.model_copy(update={"progress": None})
        data = word.to_json().encode()
        if len(data) <= size:
            return data
    if word.error is not None:
        error = word.error
        keep = max(64, len(error.line.encode()) - (len(data) - size) - 64)
        short = error.model_copy(update={"line": _cut(error.line, keep), "where": None})
        word = word.model_copy(update={"error": short})
    return word.to_json().encode()[:size]


def write_last_word(word: LastWord) -> None:
    """Write the termination message, if the environment names a file for it. Never raises.

    Processes of one pod share the file: an error that is a cause is not overwritten, neither by
    the errors that it caused nor by another; nor is one that names a silent process by what the end
    of its own process caused.
    """
    path = os.environ.get(TERMINATION_LOG_VARIABLE)
    if not path:
        return
    # In place: Kubernetes mounts the file itself.
    with (
        contextlib.suppress(OSError),
        os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        if word.error is None or not _outweighs(file.read(), word.error):
            file.seek(0)
            file.write(fit(word))
            file.truncate()


def _outweighs(data: bytes, other: ErrorReport) -> bool:
    """Whether the last word that is there already tells more than the other error."""
    try:
        error = LastWord.model_validate_json(data).error
    except ValueError:
        return False
    if error is None or not error.secondary:
        return error is not None
    return error.silent is not None and other.secondary and other.silent is None
