"""Model files: weights with a header that says what made them, as .pth, .safetensors and .onnx.

A `.pth` is `{"lepton": <header as JSON>, "state_dict": {...}}`, loaded with weights_only=True, so
that loading can't run code. A `.safetensors` and an `.onnx` have the header in their metadata; the
latter is the greedy policy for other runtimes and is not read again.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

import lepton
from lepton.agents.network import AgentNetwork
from lepton.errors import ExportError, InputError, TrainingError

FORMAT_VERSION = 1
MARK = "lepton"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SUCH_PATH = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)


def write_atomically(path: Path, data: bytes, what: str) -> None:
    """The file is there as a whole or not at all, also after a power cut; what was there before
    stays until then.

    `what` names the file's kind in errors: TrainingError, or InputError where another attempt
    would fail the same way.
    """
    try:
        _write_atomically(path, data)
    except OSError as error:
        text = f"can't write {what} {path}: {error.strerror or error}"
        if error.errno in _NO_ROOM:
            raise TrainingError(f"{text}; make room, or choose another folder") from None
        if error.errno in _NO_RIGHT:
            raise InputError(f"{text}; choose a folder that this process may write to") from None
        if error.errno in _NO_SUCH_PATH:
            raise InputError(f"{text}; choose another name") from None
        raise TrainingError(text) from None


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def save_model(path: Path, header: Mapping[str, Any], network: AgentNetwork) -> str:
    """Write `path` in the format that its suffix names; the SHA-256 of its bytes.

    Raises InputError for other suffixes, ExportError for networks that ONNX can't have, and what
    `write_atomically` raises.
    """
    header = {"format": FORMAT_VERSION, "madeBy": f"lepton {lepton.__version__}", **header}
    state = network.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    if path.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save({MARK: json.dumps(header), "state_dict": tensors}, buffer)
        data = buffer.getvalue()
    elif path.suffix == ".safetensors":
        data = safetensors.torch.save(tensors, metadata={MARK: json.dumps(header)})
    elif path.suffix == ".onnx":
        from lepton.agents.onnx import to_onnx

        data = to_onnx(network, MARK, header)
    else:
        raise InputError(f"model file {path}: the name must end in .pth, .safetensors or .onnx")
    write_atomically(path, data, "model file")
    return hashlib.sha256(data).hexdigest()


def save_in_all_formats(save: Callable[[Path], str], path: Path) -> tuple[str, list[str]]:
    """Write the .pth file `path`, and beside it what else the model can be had as.

    `save` writes one file. Returns the SHA-256 of the .pth and the formats that are there. Raises
    what `write_atomically` raises; a format that the model can't have is only told.
    """
    digest, formats = save(path), ["pth"]
    for other in ("safetensors", "onnx"):
        beside = path.with_suffix(f".{other}")
        try:
            save(beside)
            formats.append(other)
        except ExportError as error:
            beside.unlink(missing_ok=True)  # of an earlier model
            print(f"warning: {beside} is not written: {error}", file=sys.stderr)
    return digest, formats


def load_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights. Raises InputError unless the file is a model that lepton wrote."""
    if not path.exists():
        raise InputError(f"model file {path} does not exist")
    if path.suffix == ".onnx":
        raise InputError(
            f"model file {path} is for other runtimes, such as onnxruntime; load the .pth or "
            ".safetensors of the same model"
        )
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
