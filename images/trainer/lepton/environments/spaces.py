"""Spaces: observations as flat float32 vectors, and spaces as JSON for the headers of files."""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from lepton.errors import InputError

Flatten = Callable[[Any], NDArray[np.float32]]

OBSERVATION_SPACES = "Box, Discrete, MultiDiscrete, MultiBinary, and Tuple or Dict of these"
_LEARNABLE = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def flat_size(space: spaces.Space[Any]) -> int:
    """Length of a flattened observation."""
    _refuse_unknown(space)
    return spaces.flatdim(space)


def batch_flatten(space: spaces.Space[Any]) -> Flatten:
    """A function from a batch of observations to float32 of shape (n, flat_size).

    Row i equals `gymnasium.spaces.flatten` of observation i: numbers as they are, Discrete and
    MultiDiscrete one-hot, the parts of Tuple and Dict one after another.
    """
    _refuse_unknown(space)
    if isinstance(space, spaces.Discrete):
        eye, start = np.eye(int(space.n), dtype=np.float32), int(space.start)
        return lambda batch: eye[np.asarray(batch) - start]
    if isinstance(space, spaces.MultiDiscrete):
        eyes = [np.eye(int(n), dtype=np.float32) for n in space.nvec.ravel()]
        starts = space.start.ravel()

        def one_hots(batch: Any) -> NDArray[np.float32]:
            columns = np.asarray(batch).reshape(len(batch), -1) - starts
            return np.concatenate([e[columns[:, i]] for i, e in enumerate(eyes)], axis=1)

        return one_hots
    if isinstance(space, spaces.Tuple):
        parts = [batch_flatten(part) for part in space.spaces]
        return lambda batch: np.concatenate(
            [flatten(part) for flatten, part in zip(parts, batch, strict=True)], axis=1
        )
    if isinstance(space, spaces.Dict):
        named = [(name, batch_flatten(part)) for name, part in space.spaces.items()]
        return lambda batch: np.concatenate([f(batch[name]) for name, f in named], axis=1)
    return lambda batch: np.asarray(batch, np.float32).reshape(len(batch), -1)


def flatten_on_device(space: spaces.Space[Any]) -> Callable[[Any], Any]:
    """The same for torch tensors and the spaces of lepton's own environments, where they lie."""
    if isinstance(space, spaces.Discrete):
        from torch.nn.functional import one_hot

        size, start = int(space.n), int(space.start)
        return lambda batch: one_hot(batch - start, size).float()
    return lambda batch: batch.reshape(len(batch), -1).float()


def misfit(space: spaces.Space[Any], value: Any) -> str | None:
    """Why the space can't hold this value, in words to follow the value's name; None if it can.

    Structure and shapes count, and the range of what is counted. Numbers of a Box may be of any
    type and out of its bounds, as they are with many environments that can be learned in.
    """
    if isinstance(space, spaces.Tuple | spaces.Dict):
        return _misfit_of_parts(space, value)
    if not isinstance(space, _LEARNABLE):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of uneven lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        return f"is {shown(value)}, where {shown(space)} holds numbers"
    if array.shape != space.shape:
        return f"has shape {array.shape}, where {shown(space)} has {space.shape}"
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        least, number = space.start, space.n if isinstance(space, spaces.Discrete) else space.nvec
    elif isinstance(space, spaces.MultiBinary):
        least, number = np.int64(0), np.int64(2)
    else:
        return None
    if array.dtype.kind == "f" or not np.all((array >= least) & (array < least + number)):
        return f"is {shown(value)}, which is not in {shown(space)}"
    return None


def _misfit_of_parts(space: spaces.Tuple[Any] | spaces.Dict, value: Any) -> str | None:
    if isinstance(space, spaces.Dict):
        parts: dict[Any, spaces.Space[Any]] = dict(space.spaces)
        if not isinstance(value, Mapping) or value.keys() != parts.keys():
            given = list(value) if isinstance(value, Mapping) else shown(value)
            return f"is {given}, where the space is a Dict of {list(parts)}"
    else:
        parts = dict(enumerate(space.spaces))
        if not isinstance(value, tuple | list) or len(value) != len(parts):
            return f"is {shown(value)}, where the space is a Tuple of {len(parts)}"
    for name, part in parts.items():
        if wrong := misfit(part, value[name]):
            return f"has a part {name!r} that {wrong}"
    return None


def shown(value: Any) -> str:
    """The value as Python writes it, or its type where that is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"a {type(value).__name__}"


def _refuse_unknown(space: spaces.Space[Any]) -> None:
    if isinstance(space, spaces.Tuple | spaces.Dict):
        parts = space.spaces
        for part in parts.values() if isinstance(parts, dict) else parts:
            _refuse_unknown(part)
        return
    if not isinstance(space, _LEARNABLE):
        raise InputError(
            f"observations of space {type(space).__name__} can't be learned from; "
            f"what can: {OBSERVATION_SPACES}"
        )
    if not math.prod(space.shape or ()):
        raise InputError(f"observations of space {space} hold no numbers to learn from")


def random_numbers(space: spaces.Space[Any]) -> int:
    """How many uniform numbers `random_actions` takes for one action."""
    return math.prod(space.shape or ())


def random_actions(space: spaces.Space[Any], noise: NDArray[np.float32]) -> NDArray[Any]:
    """Actions spread evenly over a Discrete, MultiDiscrete or bounded Box.

    `noise` holds uniform numbers in [0, 1), shape (n, random_numbers(space)).
    """
    if isinstance(space, spaces.Discrete):
        chosen: NDArray[Any] = (noise[:, 0] * space.n).astype(space.dtype) + space.start
        return chosen
    if isinstance(space, spaces.MultiDiscrete):
        scaled = noise.reshape(len(noise), *space.shape) * space.nvec
        return scaled.astype(space.dtype) + space.start
    assert isinstance(space, spaces.Box), space
    numbers = noise.reshape(len(noise), *space.shape)
    actions: NDArray[Any] = (space.low + numbers * (space.high - space.low)).astype(space.dtype)
    return actions


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """The space as a JSON object from which `space_from_json` makes an equal one."""
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bounds_to_json(space.low),
            "high": _bounds_to_json(space.high),
        }
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "type": "MultiDiscrete",
            "nvec": space.nvec.tolist(),
            "start": space.start.tolist(),
        }
    if isinstance(space, spaces.MultiBinary):
        size = space.n  # a number or a shape; Gymnasium tells spaces apart by it
        return {"type": "MultiBinary", "n": size if isinstance(size, int) else list(size)}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.Dict):
        parts = [[name, space_to_json(part)] for name, part in space.spaces.items()]
        return {"type": "Dict", "spaces": parts}
    raise InputError(f"space {type(space).__name__} can't be saved")


def space_from_json(data: dict[str, Any]) -> spaces.Space[Any]:
    """The space that `space_to_json` described. Raises InputError for what describes none."""
    try:
        return _space_from_json(data)
    except InputError:
        raise
    except Exception as error:  # Gymnasium's spaces raise of every kind
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise InputError(f"{reprlib.repr(data)} describes no space ({reason})") from None


def _space_from_json(data: dict[str, Any]) -> spaces.Space[Any]:
    kind = data["type"]
    if kind == "Box":
        shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
        low = _bounds_from_json(data["low"], shape, dtype)
        high = _bounds_from_json(data["high"], shape, dtype)
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(data["nvec"]), start=np.array(data["start"]))
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["n"])
    if kind == "Tuple":
        return spaces.Tuple([_space_from_json(part) for part in data["spaces"]])
    if kind == "Dict":
        return spaces.Dict({name: _space_from_json(part) for name, part in data["spaces"]})
    raise InputError(f"space of unknown type {reprlib.repr(kind)}")


def _bounds_to_json(bounds: NDArray[Any]) -> list[Any]:
    """Numbers in C order, one alone when all are equal; JSON has no infinity, so it is text."""
    flat = bounds.ravel().tolist()
    if flat and all(value == flat[0] for value in flat):
        flat = flat[:1]
    return [v if math.isfinite(v) else str(v) for v in flat]


def _bounds_from_json(
    values: list[Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    numbers = np.array([float(v) if isinstance(v, str) else v for v in values], dtype)
    return np.broadcast_to(numbers, shape).copy() if numbers.size == 1 else numbers.reshape(shape)
