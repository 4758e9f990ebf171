"""Constants by index: rows of a table for each environment of a batch."""

from collections.abc import Sequence

from array_api_compat import array_namespace

from lepton.environments.scenario import Array


def look_up(table: Sequence[float] | Sequence[Sequence[float]], index: Array, like: Array) -> Array:
    """The entries (or rows) of a table with these indices, float32 of the kind of `like`."""
    xp = array_namespace(like)
    device = getattr(like, "device", None)
    return xp.take(xp.asarray(table, dtype=xp.float32, device=device), index, axis=0)
