"""Random numbers without hidden state: a hash of (seed, draw, column), one stream per row.

Row i of a batch thus sees the same numbers as a batch of one with the same seed, a stream's whole
state is two integers, and drawing for many rows is one array operation.
The hash is SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014; constants of Stafford's variant 13).
"""

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def uniform(
    seeds: NDArray[np.uint64], draws: NDArray[np.uint64], width: int
) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), shape (n, width), for the draws-th draw of n streams."""
    streams = _mix(_mix(seeds + _GOLDEN) + draws * _GOLDEN)
    columns = np.arange(1, width + 1, dtype=np.uint64) * _GOLDEN
    # The upper 53 bits are what a float64 holds exactly.
    upper = _mix(streams[:, None] + columns) >> np.uint64(11)
    return upper.astype(np.float64) * 2.0**-53
