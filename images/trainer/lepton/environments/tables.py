"""Tables of constants that steps look rows up in, kept where the batch lives."""

from collections.abc import Sequence
from typing import Any

from array_api_compat import array_namespace, device, is_numpy_array
from numpy.typing import NDArray

from lepton.environments.scenario import Array


class Table:
    """Rows of numbers, shape (rows, ...), copied once to each device that asks for them."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self._copies: dict[str, Array] = {}

    def rows(self, indices: Array) -> Array:
        """The rows at `indices` (n,), int64; an array of their kind, with a leading axis n."""
        xp = array_namespace(indices)
        if is_numpy_array(indices):
            return xp.take(self._values, indices, axis=0)
        place = str(device(indices))
        if place not in self._copies:
            self._copies[place] = xp.asarray(self._values, device=device(indices))
        return xp.take(self._copies[place], indices, axis=0)


def look_up(table: Sequence[float] | Sequence[Sequence[float]], index: Array, like: Array) -> Array:
    """The entries (or rows) of a short table with these indices, float32 of the kind of `like`."""
    xp = array_namespace(like)
    return xp.take(xp.asarray(table, dtype=xp.float32, device=device(like)), index, axis=0)
