"""Checkpoints: the whole state of a run in one file, written atomically, the newest few kept."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

import lepton
from lepton.agents.digest import digest
from lepton.agents.files import write_atomically
from lepton.errors import InputError, LeptonError

FORMAT = 3
"""Of a checkpoint's contents."""
_HEADER, _DIGEST = "lepton", "sha256"
_NAME = re.compile(r"checkpoint-(\d+)\.pt")


class CheckpointHeader(BaseModel):
    """What a checkpoint says of itself, as JSON; other formats say no less."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    format: int = FORMAT
    made_by: str = f"lepton {lepton.__version__}"
    configuration: dict[str, Any]
    record: dict[str, Any]


class DamagedError(Exception):
    """A file is no checkpoint, or not any more; the text says why."""


def to_bytes(state: dict[str, Any]) -> bytes:
    """A tree of tensors and plain values as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, Any]:
    """What `to_bytes` made bytes of; never runs code of the file (weights_only)."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def pack(header: CheckpointHeader, state: dict[str, Any]) -> bytes:
    """A checkpoint's file, with the SHA-256 of header and state."""
    text = json.dumps(header.model_dump(by_alias=True))
    return to_bytes({_HEADER: text, _DIGEST: digest([text, state]), **state})


def unpack(data: bytes) -> tuple[CheckpointHeader, dict[str, Any]]:
    """Header and state of a checkpoint's file; the state of another format is not checked.

    Raises DamagedError for what `pack` did not make.
    """
    try:
        state = from_bytes(data)
    except Exception:
        # Torch's own text advises to load the file all the same, in a way that runs its code.
        raise DamagedError("it can't be read") from None
    text = state.pop(_HEADER, None) if isinstance(state, dict) else None
    if not isinstance(text, str):
        raise DamagedError("it has no header")
    try:
        header = CheckpointHeader.model_validate_json(text)
    except ValidationError:
        raise DamagedError("its header is not lepton's") from None
    if header.format == FORMAT and state.pop(_DIGEST, None) != digest([text, state]):
        raise DamagedError("it does not hold what was saved: the SHA-256 differs")
    return header, state


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

    def read_newest(self, *, set_aside: bool = True) -> bytes | None:
        """The newest checkpoint that is as it was written, or None. Others are passed over with a
        warning.

        They are renamed unless `set_aside` is False: by their names they would be the newest, and
        those that are written from now on would be removed in their stead.
        """
        for path in self._newest_first():
            try:
                data = path.read_bytes()
                unpack(data)
                return data
            except DamagedError as error:
                reason = f"is damaged ({error})"
            except OSError as error:
                reason = f"can't be read ({error.strerror})"
            if set_aside:
                aside = path.with_name(f"{path.name}.damaged")
                with contextlib.suppress(OSError):
                    path.replace(aside)
                    reason += f" and is now named {aside.name}"
            print(f"warning: checkpoint {path} {reason}; trying the one before", file=sys.stderr)
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
        theirs = CheckpointFolder(folder if folder.is_dir() else path, keep=0)
        return theirs.read_newest(set_aside=False)
    try:
        data = path.read_bytes()
        unpack(data)
    except OSError as error:
        raise InputError(f"can't read checkpoint {path}: {error.strerror}") from None
    except DamagedError as error:
        raise InputError(f"{path} is no checkpoint, or it is damaged: {error}") from None
    return data
