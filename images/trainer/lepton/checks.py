"""Checks of what is passed to the library's classes; each raises InputError for what is wrong."""

import math
from enum import StrEnum
from numbers import Real
from typing import TypeVar

from lepton.errors import InputError
from lepton.spec.suggestions import unknown

E = TypeVar("E", bound=StrEnum)

LARGEST_SEED = 2**32 - 1


def whole(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """The whole number that this is, such as 10, 1e6 or one of NumPy's."""
    is_whole = isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0
    if not is_whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {span}, not {value!r}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def finite(name: str, value: object) -> float:
    """The number that this is."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):  # type: ignore[arg-type]
        raise InputError(f"{name} must be a finite number, not {value!r}")
    return float(value)  # type: ignore[arg-type]


def choice(what: str, kind: type[E], value: object) -> E:
    """The one of the names that this is."""
    try:
        return kind(str(value))
    except ValueError:
        raise InputError(unknown(what, value, [str(one) for one in kind])) from None
