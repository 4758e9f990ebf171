"""What warfarin does in the body: the model of `treatment`, from doses to clotting and to risk.

Pharmacokinetics, pharmacodynamics, their typical values and their spread between patients are
those of Hamberg et al., "A PK-PD Model for Predicting the Impact of Age, CYP2C9, and VKORC1
Genotype on Individualization of Warfarin Therapy", Clinical Pharmacology & Therapeutics 81 (2007):
two compartments for S-warfarin, whose concentration inhibits the making of clotting factors; what
is made reaches the INR through a chain of six compartments and one beside it.

Times are in hours, amounts in mg of S-warfarin (half of the dose), volumes in litres.
"""

import math
from typing import NamedTuple

from array_api_compat import array_namespace, device

from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array

STEP = 12.0  # h, of the simulation; a dose is taken at the start of every second one

CLEARANCE = 0.314  # L/h, of CYP2C9 *1/*1 at the age of 71
CLEARANCE_SPREAD = 0.310  # standard deviation of its logarithm between patients, as those below
CLEARANCE_PER_YEAR = -0.0091  # relative change with age
CENTRAL = 13.8  # L
CENTRAL_SPREAD = 0.262
EXCHANGE = 0.131  # L/h, between the compartments
PERIPHERAL = 6.59  # L

CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3")
CYP2C9_SHARE = (0.587, 0.173, 0.167, 0.033, 0.027, 0.013)
CYP2C9_CLEARANCE = (1.0, 0.685, 0.547, 0.278, 0.310, 0.148)
VKORC1 = ("GG", "AG", "AA")
VKORC1_SHARE = (0.39, 0.41, 0.20)
VKORC1_EC50 = (4.61, 3.02, 2.20)  # mg/L
EC50_SPREAD = 0.409
SIGMOIDICITY = 0.424
CHAIN_TIME = 11.6  # h, in each of six compartments
SLOW_TIME = 120.0  # h, in the one beside them
SLOW_SPREAD = 0.85  # of its logarithm: a coefficient of variation of 102%
SCALE = 20.0  # of the INR, above 1
EXPONENT = 3.61
MEASURED_SPREAD = 0.0325  # of the logarithm of a measured INR

AGE_MEAN, AGE_SPREAD, AGE_RANGE = 68.0, 12.0, (22.0, 87.0)  # years

RANGES = (2.0, 3.0, 5.0)
"""INR at which the risk changes."""
BLEEDING, CLOTTING = 2.3, 2.0
"""Serious events per 100 patient-years between INR 2 and 3."""
BLEEDING_RATIO = (1.1, 1.0, 2.7, 21.8)
CLOTTING_RATIO = (3.5, 1.0, 1.0, 1.0)
"""Of each of the four ranges, Oake et al., CMAJ 179 (2008)."""
RISK = tuple(
    (BLEEDING * b + CLOTTING * c) * 10.0 * STEP / (24 * 365.25)
    for b, c in zip(BLEEDING_RATIO, CLOTTING_RATIO, strict=True)
)
"""Serious events per 1,000 patients in a step of 12 h, by range."""


class Patient(NamedTuple):
    """What does not change; each (n,)."""

    age: Array  # years
    cyp2c9: Array  # index of CYP2C9, int64
    vkorc1: Array  # index of VKORC1, int64
    keep: Array  # (n, 4): shares of the amounts after a step: of centre and rim, by origin
    mean: Array  # (n, 2): concentration during a step, mg/L per mg in centre and in rim
    ec50: Array  # mg/L
    slow: Array  # share by which the slow compartment follows in a step


def patients(noise: Array) -> Patient:
    """Drawn from noise of shape (n, 8)."""
    xp = array_namespace(noise)
    to_clearance, to_centre = normal_pair(noise[:, 2], noise[:, 3])
    to_ec50, to_slow = normal_pair(noise[:, 4], noise[:, 5])
    to_age, _ = normal_pair(noise[:, 6], noise[:, 7])
    age = xp.clip(AGE_MEAN + AGE_SPREAD * to_age, *AGE_RANGE)
    cyp2c9 = _choose(CYP2C9_SHARE, noise[:, 0])
    vkorc1 = _choose(VKORC1_SHARE, noise[:, 1])
    clearance = CLEARANCE * xp.exp(CLEARANCE_SPREAD * to_clearance)
    clearance = clearance * by_index(CYP2C9_CLEARANCE, cyp2c9, age)
    clearance = clearance * (1.0 + CLEARANCE_PER_YEAR * (age - 71.0))
    keep, mean = kinetics(clearance, CENTRAL * xp.exp(CENTRAL_SPREAD * to_centre))
    ec50 = by_index(VKORC1_EC50, vkorc1, age) * xp.exp(EC50_SPREAD * to_ec50)
    slow_time = SLOW_TIME * xp.exp(SLOW_SPREAD * to_slow)
    return Patient(age, cyp2c9, vkorc1, keep, mean, ec50, 1.0 - xp.exp(-STEP / slow_time))


def kinetics(clearance: Array, central: Array) -> tuple[Array, Array]:
    """`keep` and `mean` of Patient: the exact solution of the two compartments over a step."""
    xp = array_namespace(clearance)
    out, rim, back = clearance / central, EXCHANGE / central, EXCHANGE / PERIPHERAL
    total = out + rim + back
    root = xp.sqrt(total * total - 4.0 * out * back)
    fast, slow = (total + root) / 2.0, (total - root) / 2.0  # both positive rates, 1/h
    e_fast, e_slow = xp.exp(-fast * STEP), xp.exp(-slow * STEP)
    spread = fast - slow
    cross = (e_slow - e_fast) / spread
    centre = ((fast - back) * e_fast - (slow - back) * e_slow) / spread
    keep = (centre, back * cross, rim * cross, centre + (out + rim - back) * cross)
    # Integrals over the step, divided by its length and the volume.
    i_fast, i_slow = (1.0 - e_fast) / fast, (1.0 - e_slow) / slow
    from_centre = ((fast - back) * i_fast - (slow - back) * i_slow) / spread
    from_rim = back * (i_slow - i_fast) / spread
    mean = xp.stack([from_centre, from_rim], axis=1) / (STEP * central[:, None])
    return xp.stack(keep, axis=1), mean


class Amounts(NamedTuple):
    """What changes."""

    centre: Array  # (n,), mg
    rim: Array  # (n,), mg
    chain: Array  # (n, 6), share of the clotting factors there without warfarin
    slow: Array  # (n,), the same


def untreated(n: Array) -> Amounts:
    """Amounts of patients without warfarin; `n` is any array of shape (n,)."""
    xp = array_namespace(n)
    none = xp.zeros_like(n)
    return Amounts(none, none, xp.stack([none + 1.0] * 6, axis=1), none + 1.0)


class Course(NamedTuple):
    """What happened between two visits; each (n,)."""

    inr: Array  # at the end
    below: Array  # steps that ended with an INR below 2
    above: Array  # steps that ended with an INR above 3
    far_above: Array  # steps that ended with an INR above 5


def advance(
    patient: Patient, amounts: Amounts, ec50: Array, doses: list[Array | None]
) -> tuple[Amounts, Course]:
    """Simulate as many steps as there are doses (in mg of warfarin, None for none).

    `ec50` is the present one, which differs from the patient's own.
    """
    xp = array_namespace(ec50)
    centre, rim, _, slow = amounts
    chain = [amounts.chain[:, i] for i in range(6)]
    keep = [patient.keep[:, i] for i in range(4)]
    from_centre, from_rim = patient.mean[:, 0], patient.mean[:, 1]
    follow = 1.0 - math.exp(-STEP / CHAIN_TIME)
    log_ec50 = xp.log(ec50)
    factors = chain[5] * slow
    counts = [xp.zeros_like(ec50)] * len(RANGES)
    for number, dose in enumerate(doses):
        if dose is not None:
            centre = centre + 0.5 * dose
        concentration = from_centre * centre + from_rim * rim
        centre, rim = keep[0] * centre + keep[1] * rim, keep[2] * centre + keep[3] * rim
        log_relative = xp.log(concentration + 1e-6) - log_ec50
        made = 1.0 / (1.0 + xp.exp(SIGMOIDICITY * log_relative))
        # What flows on is what was there in one step and what is there in the next: each alone is
        # wrong by half a step per compartment, in opposite directions.
        arriving = [made, *chain[:-1]]
        for i, before in enumerate(chain):
            chain[i] = before + follow * (arriving[i] - before)
            if number % 2 and i < 5:
                arriving[i + 1] = chain[i]
        slow = slow + patient.slow * (made - slow)
        factors = chain[5] * slow
        crossed = [factors > _LIMITS[0], factors < _LIMITS[1], factors < _LIMITS[2]]
        counts = [c + xp.astype(x, c.dtype) for c, x in zip(counts, crossed, strict=True)]
    after = Amounts(centre, rim, xp.stack(chain, axis=1), slow)
    return after, Course(inr(factors), *counts)


def inr(factors: Array) -> Array:
    """INR by the share of clotting factors that are there."""
    xp = array_namespace(factors)
    # Twice as fast as a power.
    return 1.0 + SCALE * xp.exp(EXPONENT * xp.log(xp.clip(1.0 - factors, 1e-6, 1.0)))


_LIMITS = tuple(1.0 - ((limit - 1.0) / SCALE) ** (1.0 / EXPONENT) for limit in RANGES)
"""Shares of clotting factors at the INRs of RANGES."""


def events(course: Course, steps: int) -> Array:
    """Serious events that are to be expected per 1,000 patients in these steps."""
    below, within, above, far_above = RISK
    return (
        within * steps
        + (below - within) * course.below
        + (above - within) * course.above
        + (far_above - above) * course.far_above
    )


def by_index(values: tuple[float, ...], index: Array, like: Array) -> Array:
    """The values at these indices, as floats of `like`'s kind."""
    xp = array_namespace(like)
    table = xp.asarray(values, dtype=like.dtype, device=device(like))
    return xp.take(table, index, axis=0)


def _choose(shares: tuple[float, ...], uniform: Array) -> Array:
    """Indices drawn with these probabilities."""
    xp = array_namespace(uniform)
    total, index = 0.0, xp.zeros_like(uniform, dtype=xp.int64)
    for share in shares[:-1]:
        total += share
        index = index + xp.astype(uniform >= total, xp.int64)
    return index
