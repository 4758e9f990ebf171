"""Getting on with objects that another version of this program wrote."""

from collections.abc import Iterable
from typing import Any

Path = tuple[int | str, ...]
"""Where something stands in nested objects and lists."""


def leave_out(value: Any, paths: Iterable[Path]) -> None:
    """Remove what stands at these paths, or the deepest that exists on the way to each."""
    # From the end, so that the indices of list items stay true.
    for path in sorted(paths, key=_by_position, reverse=True):
        _leave_out(value, path)


def _by_position(path: tuple[int | str, ...]) -> list[tuple[bool, int | str]]:
    return [(isinstance(step, int), step) for step in path]


def _leave_out(value: Any, path: tuple[int | str, ...]) -> None:
    """Remove what stands at the path, or the deepest that exists on the way to it."""
    holder: tuple[Any, int | str] | None = None
    for step in path:
        try:
            inner = value[step]
        except (KeyError, IndexError, TypeError):
            break
        holder = value, step
        value = inner
    if holder is not None:
        container, step = holder
        del container[step]
