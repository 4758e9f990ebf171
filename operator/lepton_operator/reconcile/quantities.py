"""Kubernetes' quantities as numbers, and amounts of memory as text.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import math
import re
from decimal import Decimal

SUFFIXES = {
    suffix: base**power
    for base, suffixes, first in (
        (Decimal(1000), ("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3),
        (Decimal(1024), ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1),
    )
    for power, suffix in enumerate(suffixes, first)
}
FORM = re.compile(r"(?P<number>[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<suffix>[A-Za-z]{0,2})")


def quantity(text: str | int) -> Decimal:
    """The number that a quantity stands for; that of "64Mi" is 67,108,864."""
    match = FORM.fullmatch(str(text))
    if match is None or match["suffix"] not in SUFFIXES:
        raise ValueError(f"{text!r} is no quantity")
    return Decimal(match["number"]) * SUFFIXES[match["suffix"]]


def memory_text(amount: Decimal | int) -> str:
    """An amount of bytes as text: in Gi or Mi where it is whole, else in bytes, rounded up."""
    for suffix in ("Gi", "Mi"):
        if amount % SUFFIXES[suffix] == 0:
            return f"{int(amount / SUFFIXES[suffix])}{suffix}"
    return str(math.ceil(amount))


def in_mebibytes(amount: Decimal, rounding: str) -> Decimal:
    """The amount of bytes in whole MiB, rounded as decimal's constants say."""
    unit = SUFFIXES["Mi"]
    return (amount / unit).to_integral_value(rounding) * unit
