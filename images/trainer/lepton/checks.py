"""Checks of what is passed to the library's classes; each raises InputError for what is wrong."""

import math
from enum import StrEnum
from numbers import Real
from typing import Any, TypeVar

from lepton.errors import InputError
from lepton.spec.suggestions import unknown

E = TypeVar("E", bound=StrEnum)

LARGEST_SEED = 2**32 - 1


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The whole number that this is, such as 10, 1e6 or one of NumPy's."""
    if not _is_number(value) or value % 1 or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {span}, not {value!r}")
    return int(value)


def finite(name: str, value: Any) -> float:
    """The number that this is."""
    if not _is_number(value):
        raise InputError(f"{name} must be a finite number, not {value!r}")
    return float(value)


def choice(what: str, kind: type[E], value: object) -> E:
    """The one of the names that this is."""
    try:
        return kind(str(value))
    except ValueError:
        raise InputError(unknown(what, value, [str(one) for one in kind])) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
