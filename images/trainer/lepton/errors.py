"""Errors that lepton raises on purpose; their text is one line that says what to do."""


class LeptonError(Exception):
    """Any error that lepton raises on purpose."""


class InputError(LeptonError, ValueError):
    """What the user gave can't work: another attempt with the same input fails the same way."""


class ExportError(InputError):
    """The model can't be had in this format; its other files are not affected."""


class TrainingError(LeptonError):
    """Training can't go on."""


class NonFiniteError(TrainingError):
    """A tensor holds NaN or infinity; the text names the first one."""


class PeerLostError(TrainingError):
    """Another process of the group ended or can't be reached: a consequence, not a cause. `silent`
    is that process's rank if it closed no connection and gave no sign of life any more."""

    def __init__(self, message: str, *, silent: int | None = None) -> None:
        super().__init__(message)
        self.silent = silent


class Interrupted(SystemExit):
    """The process was asked to end (SIGTERM) and saved its state; uncaught, it exits with 143."""

    def __init__(self, message: str) -> None:
        super().__init__(128 + 15)
        self.message = message
