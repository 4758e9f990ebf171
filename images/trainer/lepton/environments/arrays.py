"""Constants of scenarios as arrays of the kind, and on the device, of those they are used with."""

from typing import Any

from array_api_compat import array_namespace, device

from lepton.environments.scenario import Array


def constant(like: Array, values: Any) -> Array:
    """Numbers, in nested sequences, with the dtype of `like`."""
    return array_namespace(like).asarray(values, dtype=like.dtype, device=device(like))


def integers(like: Array, values: Any) -> Array:
    """Whole numbers, in nested sequences, such as places for `take`."""
    xp = array_namespace(like)
    return xp.asarray(values, dtype=xp.int64, device=device(like))
