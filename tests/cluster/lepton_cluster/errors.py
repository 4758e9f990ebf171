"""The one kind of error that reaches the user: what failed, where to look, what to do."""

from pathlib import Path


class ClusterError(Exception):
    """A step failed. `advice` says what to do; `log` is a file whose end tells why."""

    def __init__(self, message: str, *, advice: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.log = log

    def report(self, log_lines: int = 15) -> str:
        parts = [self.message]
        if self.log is not None and self.log.is_file():
            end = self.log.read_text(errors="replace").splitlines()[-log_lines:]
            parts.append(f"the end of {self.log}:")
            parts.extend(f"    {line[:300]}" for line in end)
        if self.advice:
            parts.append(self.advice)
        return "\n".join(parts)
