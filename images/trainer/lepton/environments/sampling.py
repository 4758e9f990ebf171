"""From the uniform numbers that environments are given to those of other distributions."""

import math

from array_api_compat import array_namespace

from lepton.environments.scenario import Array


def normal(first: Array, second: Array) -> Array:
    """Standard normal numbers from two arrays of uniform ones in [0, 1), of the same shape.

    Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
    """
    xp = array_namespace(first)
    # 1 - u lies in (0, 1], where the logarithm is finite.
    return xp.sqrt(-2.0 * xp.log(1.0 - first)) * xp.cos((2.0 * math.pi) * second)


def successor(value: Array, correlation: float, first: Array, second: Array) -> Array:
    """Standard normal numbers with this correlation to `value`, which are such numbers; from two
    arrays of uniform ones. Repeated, an autoregressive sequence."""
    surprise = math.sqrt(1.0 - correlation**2)
    return correlation * value + surprise * normal(first, second)
