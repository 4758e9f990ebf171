"""The compounds of the drug-screening scenario: how active they are, and what assays tell of that.

A library of cores times substituents, whose activities add up of what core and substituent
contribute (Free and Wilson, "A Mathematical Contribution to Structure-Activity Studies", Journal of
Medicinal Chemistry 7, 1964) but for a part that is the compound's own. Every assay thus tells about
all compounds that share a part with the assayed one. Activities are pIC50, the negative decimal
logarithm of the concentration in mol/L that halves the target's activity.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace, device

from lepton.environments.arrays import constant, inwards
from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array
from lepton.environments.tables import Table

CORES, SUBSTITUENTS = 6, 6
PARTS, COMPOUNDS = CORES + SUBSTITUENTS, CORES * SUBSTITUENTS
"""Compound c has core c // SUBSTITUENTS and substituent c % SUBSTITUENTS; among the parts, cores
come first."""
AVERAGE = 5.0  # pIC50 over all targets and compounds
CORE_SPREAD, SUBSTITUENT_SPREAD = 0.6, 0.5  # standard deviations of contributions, pIC50
KINSHIP = 0.6  # correlation of the contributions of parts 2k and 2k + 1, which are alike
OWN_SPREAD = 0.3  # standard deviation of what does not add up, pIC50


class Belief(NamedTuple):
    """What the parts are believed to contribute, in pIC50: a normal distribution."""

    mean: Array  # (n, PARTS)
    covariance: Array  # (n, PARTS, PARTS)


def activities(noise: Array) -> Array:
    """pIC50 of each compound on new targets, (n, COMPOUNDS), from uniform numbers
    (n, PARTS + COMPOUNDS)."""
    xp = array_namespace(noise)
    half = (PARTS + COMPOUNDS) // 2
    one, other = normal_pair(noise[:, :half], noise[:, half:])
    akin = KINSHIP * one + math.sqrt(1.0 - KINSHIP**2) * other
    pairs = xp.stack([one, akin], axis=2)[:, : PARTS // 2]
    spread = constant(noise, [CORE_SPREAD] * CORES + [SUBSTITUENT_SPREAD] * SUBSTITUENTS)
    parts = xp.reshape(pairs, (-1, PARTS)) * spread
    own = xp.concat([one[:, PARTS // 2 :], other[:, PARTS // 2 :]], axis=1)
    return AVERAGE + sums(parts.T).T + OWN_SPREAD * own


@cache
def _covariance() -> tuple[tuple[float, ...], ...]:
    """Of the contributions, before any assay."""
    spread = np.repeat([CORE_SPREAD, SUBSTITUENT_SPREAD], [CORES, SUBSTITUENTS])
    alike = np.kron(np.eye(PARTS // 2), [[1.0, KINSHIP], [KINSHIP, 1.0]])
    return tuple(tuple(row) for row in (alike * np.outer(spread, spread)).tolist())


def prior(like: Array) -> Belief:
    """Before any assay, for each row of `like`."""
    nothing = array_namespace(like).zeros_like(like[:, :PARTS])
    return Belief(nothing, nothing[:, :1, None] + constant(like, _covariance()))


COMPOSITION = Table(
    np.hstack(
        [
            np.repeat(np.eye(CORES, dtype=np.float32), SUBSTITUENTS, axis=0),
            np.tile(np.eye(SUBSTITUENTS, dtype=np.float32), (CORES, 1)),
        ]
    )
)
"""(COMPOUNDS, PARTS): 1 where the compound has the part."""


def sums(parts: Array) -> Array:
    """For each compound the sum of the values of its core and its substituent, (COMPOUNDS, ...),
    given those of the parts, (PARTS, ...)."""
    pairs = parts[:CORES, None, ...] + parts[None, CORES:, ...]
    return array_namespace(parts).reshape(pairs, (COMPOUNDS, *parts.shape[1:]))


def expectation(belief: Belief) -> tuple[Array, Array]:
    """Mean and standard deviation of the activity of compounds that have not been assayed, both
    (COMPOUNDS, n)."""
    xp = array_namespace(belief.mean)
    variance = xp.reshape(belief.covariance, (-1, PARTS**2))[:, :: PARTS + 1]
    between = xp.reshape(inwards(belief.covariance[:, :CORES, CORES:]), (COMPOUNDS, -1))
    spread = xp.sqrt(sums(inwards(variance)) + 2.0 * between + OWN_SPREAD**2)
    return AVERAGE + sums(inwards(belief.mean)), spread


def learn(belief: Belief, compound: Array, result: Array, told: Array, noise: float) -> Belief:
    """The belief after `result` (n,) of assaying `compound` (n,) where `told` (n,) is 1, and the
    same belief where it is 0.

    This is the update of a Kalman filter. Assays have an error of standard deviation `noise`; the
    compound's own part is another error, as it tells nothing of others.
    """
    xp = array_namespace(result)
    places = places_of(compound)
    shared = sum_of(belief.covariance, places)
    variance = sum_of(shared, places) + (OWN_SPREAD**2 + noise**2)
    gain = shared * (told / variance)[:, None]
    surprise = result - AVERAGE - sum_of(belief.mean, places)
    covariance = xp.einsum("ni,nj->nij", -gain, shared)
    covariance += belief.covariance  # in place, since these are most of the numbers of a state
    return Belief(belief.mean + gain * surprise[:, None], covariance)


def places_of(compound: Array) -> tuple[Array, Array]:
    """Where the cores and the substituents of `compound` (n,) are among all the parts of a batch,
    one row of PARTS after another."""
    xp = array_namespace(compound)
    n = compound.shape[0]
    rows = PARTS * xp.arange(n, dtype=xp.int64, device=device(compound))
    return rows + compound // SUBSTITUENTS, rows + (CORES + compound % SUBSTITUENTS)


def sum_of(parts: Array, places: tuple[Array, Array]) -> Array:
    """The sum of the values at two of `places_of`, (n, ...), given those of all parts,
    (n, PARTS, ...)."""
    xp = array_namespace(parts)
    flat = xp.reshape(parts, (-1, *parts.shape[2:]))
    core, substituent = places
    return xp.take(flat, core, axis=0) + xp.take(flat, substituent, axis=0)
