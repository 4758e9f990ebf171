"""Random numbers of other shapes, made of uniform ones; for NumPy arrays and torch tensors."""

import math

from array_api_compat import array_namespace

from lepton.environments.scenario import Array


def normal(u1: Array, u2: Array) -> Array:
    """Standard normal numbers from two arrays of uniform ones in [0, 1), of their shape.

    By the transform of Box and Muller (1958).
    """
    xp = array_namespace(u1)
    return xp.sqrt(-2.0 * xp.log1p(-u1)) * xp.cos(2.0 * math.pi * u2)


def normal_pair(u1: Array, u2: Array) -> tuple[Array, Array]:
    """Two independent arrays of standard normal numbers from two of uniform ones in [0, 1)."""
    xp = array_namespace(u1)
    radius, angle = xp.sqrt(-2.0 * xp.log1p(-u1)), 2.0 * math.pi * u2
    return radius * xp.cos(angle), radius * xp.sin(angle)
