"""Model files: weights with a header that says what made them, as .pth and as .safetensors.

A `.pth` is `{"lepton": <header as JSON>, "state_dict": {...}}`, loaded with weights_only=True, so
that loading can't run code. A `.safetensors` has the header in its metadata.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import lepton
from lepton.errors import InputError

FORMAT_VERSION = 1
MARK = "lepton"


def write_atomically(path: Path, data: bytes) -> None:
    """The file is there as a whole or not at all, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_model(path: Path, header: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Write `path` in the format that its suffix names; the SHA-256 of its bytes."""
    text = json.dumps(
        {"format": FORMAT_VERSION, "madeBy": f"lepton {lepton.__version__}", **header}
    )
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    if path.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save({MARK: text, "state_dict": tensors}, buffer)
        data = buffer.getvalue()
    elif path.suffix == ".safetensors":
        data = safetensors.torch.save(tensors, metadata={MARK: text})
    else:
        raise InputError(f"model file {path}: the name must end in .pth or .safetensors")
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def load_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights. Raises InputError unless the file is a model that lepton wrote."""
    if not path.exists():
        raise InputError(f"model file {path} does not exist")
    if path.suffix == ".safetensors":
        text, state = _read_safetensors(path)
    else:
        text, state = _read_pth(path)
    header = json.loads(text)
    if header.get("format") != FORMAT_VERSION:
        raise InputError(
            f"model file {path} has format {header.get('format')}, made by "
            f"{header.get('madeBy')}; this is lepton {lepton.__version__}, which reads format "
            f"{FORMAT_VERSION}"
        )
    return header, state


def _read_pth(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model file {path} is damaged or holds more than weights, so it is not loaded: {first}"
        ) from None
    if (
        not isinstance(content, dict)
        or not isinstance(content.get(MARK), str)
        or not isinstance(content.get("state_dict"), dict)
        or not all(isinstance(v, Tensor) for v in content["state_dict"].values())
    ):
        raise InputError(f"model file {path} was not made by lepton: it has no header")
    return content[MARK], content["state_dict"]


def _read_safetensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise InputError(f"model file {path} is damaged: {error}") from None
    if MARK not in metadata:
        raise InputError(f"model file {path} was not made by lepton: it has no header")
    return metadata[MARK], state
