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
import reprlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor

import lepton
from lepton.agents.digest import digest
from lepton.agents.header import FORMAT_VERSION, ModelHeader
from lepton.agents.network import AgentNetwork
from lepton.errors import ExportError, InputError, LeptonError, TrainingError

MARK = "lepton"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SUCH_PATH = (errno.EEXIST, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def write_atomically(path: Path, data: bytes, what: str) -> None:
    """The file is there as a whole or not at all, also after a power cut; what was there before
    stays until then.

    `what` names the file's kind in errors: TrainingError, or InputError where another attempt
    would fail the same way.
    """
    try:
        _write_atomically(path, data)
    except OSError as error:
        raise _explained(error, f"can't write {what} {path}") from None


def make_folder(path: Path, what: str) -> None:
    """Make the folder if it is not there, and see whether files can be made in it: better now than
    when there is something to lose. `what` and errors as in `write_atomically`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise _explained(error, f"can't write {what} in {path}") from None


def _explained(error: OSError, text: str) -> LeptonError:
    text += f": {error.strerror or error}"
    if error.errno in _NO_ROOM:
        return TrainingError(f"{text}; make room, or choose another folder")
    if error.errno in _NO_RIGHT:
        return InputError(f"{text}; choose a folder that this process may write to")
    if error.errno in _NO_SUCH_PATH:
        return InputError(f"{text}; choose another name")
    return TrainingError(text)


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


def save_model(path: Path, header: ModelHeader, network: AgentNetwork) -> str:
    """Write `path` in the format that its suffix names; the SHA-256 of its bytes.

    Raises InputError for other suffixes, ExportError for networks that ONNX can't have, and what
    `write_atomically` raises.
    """
    state = network.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    told = header.model_copy(update={"sha256": _sha256(header, tensors)}).to_json_object()
    if path.suffix == ".pth":
        buffer = io.BytesIO()
        torch.save({MARK: json.dumps(told), "state_dict": tensors}, buffer)
        data = buffer.getvalue()
    elif path.suffix == ".safetensors":
        data = safetensors.torch.save(tensors, metadata={MARK: json.dumps(told)})
    elif path.suffix == ".onnx":
        from lepton.agents.onnx import to_onnx

        data = to_onnx(network, MARK, told)
    else:
        raise InputError(f"model file {path}: the name must end in .pth, .safetensors or .onnx")
    write_atomically(path, data, "model file")
    return hashlib.sha256(data).hexdigest()


def _sha256(header: ModelHeader, tensors: dict[str, Tensor]) -> str:
    """Of all but the SHA-256 itself. Formats keep tensors in orders of their own."""
    rest = header.model_copy(update={"sha256": ""}).to_json_object()
    return digest([json.dumps(rest), sorted(tensors.items())])


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


def load_model(path: Path) -> tuple[ModelHeader, dict[str, Tensor]]:
    """Header and weights. Raises InputError unless the file is a model that lepton wrote, just as
    it was written."""
    if not path.exists():
        raise InputError(f"model file {path} does not exist")
    if path.suffix == ".onnx":
        raise InputError(
            f"model file {path} is for other runtimes, such as onnxruntime; load the .pth or "
            ".safetensors of the same model"
        )
    text, state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pth(path)
    header = _read_header(path, text)
    if header.sha256 != _sha256(header, state):
        raise InputError(
            f"model file {path} is damaged: it does not hold what was saved (the SHA-256 differs)"
        )
    return header, state


def _read_header(path: Path, text: str) -> ModelHeader:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"model file {path} has a header that is no JSON object")
    if found.get("format") != FORMAT_VERSION:
        raise InputError(
            f"model file {path} has format {reprlib.repr(found.get('format'))}, made by "
            f"{reprlib.repr(found.get('madeBy'))}; this is lepton {lepton.__version__}, which "
            f"reads format {FORMAT_VERSION}"
        )
    try:
        return ModelHeader.model_validate(found)
    except ValidationError as error:
        problem = error.errors()[0]
        place = reprlib.repr(".".join(map(str, problem["loc"])))
        raise InputError(
            f"model file {path} has a header that lepton did not write: {place}: {problem['msg']}"
        ) from None


def _read_pth(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read model file {path}: {error.strerror}") from None
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:
        # Torch's own text advises to load the file all the same, in a way that runs its code.
        raise InputError(
            f"model file {path} is damaged or holds more than weights, so it is not loaded"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get(MARK), str):
        raise InputError(f"model file {path} was not made by lepton: it has no header")
    state = content.get("state_dict")
    plain = isinstance(state, dict) and all(map(_is_weight, state.keys(), state.values()))
    if not plain or len(content) != 2:
        raise InputError(
            f"model file {path} was not made by lepton: it holds something else than a header and "
            "weights"
        )
    return content[MARK], content["state_dict"]


def _is_weight(name: object, tensor: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and (tensor.layout, tensor.device.type) == (torch.strided, "cpu")
        and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg())
    )


def _read_safetensors(path: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise InputError(f"can't read model file {path}: {error}") from None
    except Exception as error:
        raise InputError(f"model file {path} is damaged: {error}") from None
    if MARK not in metadata:
        raise InputError(f"model file {path} was not made by lepton: it has no header")
    return metadata[MARK], state
