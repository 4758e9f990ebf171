"""Reads what a finished pod left: its termination message, or the tail of its log."""

from pydantic import ValidationError

from lepton.spec.report import LastWord

LOG_TAIL_BYTES = 65_536
LOG_TAIL_LINES = 400


def parse_last_word(message: str | None) -> LastWord | None:
    """The termination message as lepton writes it; None when it is another program's text."""
    if not message or not message.lstrip().startswith("{"):
        return None
    try:
        return LastWord.model_validate_json(message)
    except ValidationError:
        return None
