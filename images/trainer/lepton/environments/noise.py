"""Random numbers without hidden state: a hash of (seed, draw, column), one stream per row.

Row i of a batch thus sees the same numbers as a batch of one with the same seed, a stream's whole
state is two integers, and drawing for many rows is one array operation, on any device.
The hash is SplitMix64's finaliser (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
Generators, OOPSLA 2014; constants of Stafford's variant 13), on signed integers, since torch's
unsigned ones can't be multiplied.
"""

from array_api_compat import array_namespace

from lepton.environments.scenario import Array


def _signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _mix(x: Array) -> Array:
    # A signed shift copies the sign; the masks make it the unsigned shift of the original.
    x = (x ^ ((x >> 30) & (2**34 - 1))) * _MIX_1
    x = (x ^ ((x >> 27) & (2**37 - 1))) * _MIX_2
    return x ^ ((x >> 31) & (2**33 - 1))


def uniform(seeds: Array, draws: Array, width: int) -> Array:
    """Uniform float32 numbers in [0, 1), shape (n, width), for the draws-th draw of n streams.

    `seeds` and `draws` are int64 of shape (n,), NumPy's or torch's; the numbers are of their kind.
    """
    xp = array_namespace(seeds)
    streams = _mix(_mix(seeds + _GOLDEN) + draws * _GOLDEN)
    # A hash has bits for two numbers of the 24 that a float32 holds exactly.
    hashes = (width + 1) // 2
    columns = xp.arange(1, hashes + 1, dtype=xp.int64, device=_device(seeds)) * _GOLDEN
    bits = _mix(streams[:, None] + columns)
    mask = 2**24 - 1
    upper, lower = (bits >> 40) & mask, (bits >> 8) & mask
    both = xp.concat([upper, lower[:, : width - hashes]], axis=1)
    return xp.astype(both, xp.float32) * 2.0**-24


def _device(array: Array) -> Array:
    return getattr(array, "device", None)
