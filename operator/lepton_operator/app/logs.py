"""Logging: JSON lines in the cluster, readable lines on a terminal."""

import json
import logging
import sys
from datetime import UTC, datetime

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def extras(record: logging.LogRecord) -> dict[str, object]:
    """What a caller passed as `extra=`; kopf's own reference to the object is dropped."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in STANDARD and not name.startswith(("k8s_", "_", "settings"))
    }


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the record's extras."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:00:01 INFO    message  key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and a traceback below it if there is one."""
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        pairs = "".join(f"  {name}={value}" for name, value in extras(record).items())
        line = f"{moment} {record.levelname:<7} {record.getMessage()}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(log_format: str, level: str) -> None:
    """Send all logging to standard error in the chosen form."""
    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf tells every step of every event at INFO; what matters of it comes as warnings.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # That signals are not its own is meant.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
