"""Checkpoints: the whole state of a run in one file, written atomically, the newest few kept."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import torch

from lepton.agents.files import write_atomically
from lepton.errors import InputError, LeptonError

_NAME = re.compile(r"checkpoint-(\d+)\.pt")


def to_bytes(state: dict[str, Any]) -> bytes:
    """A tree of tensors and plain values as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, Any]:
    """What `to_bytes` made bytes of; never runs code of the file (weights_only)."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


class CheckpointFolder:
    """The checkpoints of one run. File names carry the step, so the newest is known without
    opening any."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.path = folder
        self._keep = keep
        self.failed = False
        """Whether the last checkpoint could not be written."""

    def write(self, step: int, data: bytes) -> None:
        """Write a checkpoint and remove all but the newest few. Raises as `write_atomically`."""
        for litter in self.path.glob(".checkpoint-*.tmp"):  # of a process that was killed
            litter.unlink(missing_ok=True)
        write_atomically(self.path / f"checkpoint-{step:015d}.pt", data, "checkpoint")
        for old in self._newest_first()[self._keep :]:
            old.unlink(missing_ok=True)

    def try_to_write(self, step: int, data: bytes) -> None:
        """`write`, but what goes wrong is only told, and again only after a success: training
        that could not be resumed is worth more than none."""
        try:
            self.write(step, data)
        except (LeptonError, OSError) as error:
            if not self.failed:
                print(f"warning: {error}; training goes on without it", file=sys.stderr)
            self.failed = True
        else:
            self.failed = False

    def read_newest(self) -> bytes | None:
        """The newest checkpoint that can be read, or None. Damaged ones are passed over with a
        warning."""
        for path in self._newest_first():
            try:
                data = path.read_bytes()
                if not isinstance(from_bytes(data), dict):
                    raise TypeError("not a checkpoint")
            except Exception as error:
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                print(
                    f"warning: checkpoint {path} is damaged ({first}); trying the one before",
                    file=sys.stderr,
                )
                continue
            return data
        return None

    def _newest_first(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        found = [path for path in self.path.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)


def read_checkpoint(path: Path) -> bytes | None:
    """The newest checkpoint of a run's folder or of a folder of checkpoints, or the file itself;
    None where there is none. Raises InputError for a file that is no checkpoint."""
    if not path.is_file():
        folder = path / "checkpoints"
        return CheckpointFolder(folder if folder.is_dir() else path, keep=0).read_newest()
    data = path.read_bytes()
    try:
        if not isinstance(from_bytes(data), dict):
            raise TypeError("not a checkpoint")
    except Exception as error:
        raise InputError(f"{path} is no checkpoint, or it is damaged") from error
    return data
