"""Random quantities of the usual distributions, made of uniform numbers in [0, 1)."""

import math

from array_api_compat import array_namespace

from lepton.environments.scenario import Array


def normal(u1: Array, u2: Array) -> Array:
    """Standard normal numbers from two arrays of uniform ones, of their shape (Box and Muller
    1958)."""
    return _radius(u1) * array_namespace(u1).cos(2.0 * math.pi * u2)


def normal_pair(u1: Array, u2: Array) -> tuple[Array, Array]:
    """Two independent arrays of standard normal numbers from two of uniform ones."""
    xp = array_namespace(u1)
    radius, angle = _radius(u1), 2.0 * math.pi * u2
    return radius * xp.cos(angle), radius * xp.sin(angle)


def _radius(u: Array) -> Array:
    xp = array_namespace(u)
    return xp.sqrt(-2.0 * xp.log1p(-u))


def poisson(uniform: Array, mean: Array, most: int) -> Array:
    """Counts with a Poisson distribution, as float32, by adding up its probabilities.

    `uniform` and `mean` have the same shape. What lies above `most` counts as `most`; with
    mean + 5 √mean + 2 less than one count in a million is cut off.
    """
    xp = array_namespace(uniform)
    probability = xp.exp(-mean)
    total = probability
    count = xp.astype(uniform >= total, xp.float32)
    for k in range(1, most):
        probability = probability * mean / k
        total = total + probability
        count = count + xp.astype(uniform >= total, xp.float32)
    return count


def successor(value: Array, correlation: float, u1: Array, u2: Array) -> Array:
    """Standard normal numbers with this correlation to `value`, which are such numbers; from two
    arrays of uniform ones. Repeated, an autoregressive sequence."""
    surprise = math.sqrt(1.0 - correlation**2)
    return correlation * value + surprise * normal(u1, u2)
