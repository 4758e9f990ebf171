"""Treatment with warfarin: find the dose that keeps a patient's blood from clotting too easily
without making it bleed, by what few INR measurements tell.

The body is in `treatment_body`. Every few days the INR is measured and the dose may be changed.
"""

from functools import cache, partial
from itertools import product
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace
from gymnasium import spaces

from lepton.environments.drawing import Canvas, Picture
from lepton.environments.sampling import normal_pair
from lepton.environments.scenario import Array, Returns, Scenario
from lepton.environments.scenarios.treatment_body import (
    CYP2C9_CLEARANCE,
    MEASURED_SPREAD,
    RANGES,
    STEP,
    VKORC1_EC50,
    Amounts,
    Patient,
    advance,
    by_index,
    events,
    patients,
    untreated,
)
from lepton.environments.scores import measure, reference_returns

DAYS = 84
"""Length of an episode."""
FACTORS = (0.5, 0.7, 0.8, 0.85, 0.9, 1.0, 1.1, 1.15, 1.2, 1.3, 1.5)
"""By which the maintenance dose can be multiplied at a visit."""
SAME = FACTORS.index(1.0)
AS_IS, SKIP_ONE, SKIP_ALL, DOUBLE_ONE = 0, 1, 2, 3
"""What is done with the doses until the next visit; ONE is the first of them."""
LEAST, MOST = 0.5, 15.0  # mg/day, of the maintenance dose
START = 5.0  # mg/day, without genotype
GENOTYPE_START = (
    (6.0, 6.0, 3.5, 3.5, 3.5, 1.25),
    (6.0, 3.5, 3.5, 3.5, 1.25, 1.25),
    (3.5, 3.5, 1.25, 1.25, 1.25, 1.25),
)
"""mg/day, by VKORC1 and CYP2C9: the middles of the ranges in the FDA's label of Coumadin."""
MEMORY = 4
"""Visits that the observation goes back."""

DIET_SPREAD = 0.2  # standard deviation of the logarithm of what diet and illness do to the EC50
DIET_DAYS = 14.0  # after which a deviation has fallen to 1/e
FORGETTING = 0.1  # probability that a patient forgets one dose until the next visit


class Setting(NamedTuple):
    """What the parameters change."""

    interval: int
    genotyped: bool


class Protocol(NamedTuple):
    """What is free in the reference."""

    change: int
    """Places in FACTORS that a change of 10% is turned into; one of 15% takes one more."""
    every: int
    """Visits from one change to the next, unless the INR is 4 or more."""
    wait: int
    """Visits before the dose is first increased."""


PROTOCOL = Protocol(change=4, every=1, wait=2)
"""What `search_protocol` finds with 16,384 episodes of the default setting."""
RETURNS = Returns(random=-22.36, reference=-12.87)
"""Of the default setting, measured over 65,536 episodes."""


class State(NamedTuple):
    """First axis n. The first parts are those of Patient and of Amounts."""

    age: Array
    cyp2c9: Array
    vkorc1: Array
    keep: Array
    mean: Array
    ec50: Array
    slow_follows: Array
    centre: Array
    rim: Array
    chain: Array
    slow: Array
    diet: Array  # present deviation of the EC50's logarithm
    dose: Array  # maintenance dose, mg/day
    measured: Array  # (n, MEMORY): INR as measured, newest first
    given: Array  # (n, MEMORY): doses prescribed for the intervals before them, mg/day
    visits: Array  # so far, int64
    in_range: Array  # days with an INR of 2 to 3 so far
    far_above: Array  # days with an INR above 5 so far


_PATIENT, _AMOUNTS = len(Patient._fields), len(Amounts._fields)


def reset(n: int, noise: Array, setting: Setting) -> State:
    """Patients before their first dose."""
    xp = array_namespace(noise)
    patient = patients(noise)
    zero = xp.zeros_like(patient.age)
    history = xp.stack([zero] * MEMORY, axis=1)
    if setting.genotyped:
        table = tuple(dose for row in GENOTYPE_START for dose in row)
        dose = by_index(table, patient.vkorc1 * len(CYP2C9_CLEARANCE) + patient.cyp2c9, zero)
    else:
        dose = zero + START
    visits = xp.zeros_like(patient.cyp2c9)
    return State(*patient, *untreated(zero), zero, dose, history + 1.0, history, visits, zero, zero)


def step(state: State, action: Array, noise: Array, setting: Setting) -> tuple[State, Array, Array]:
    """Prescribe, and see the patient again `interval` days later."""
    xp = array_namespace(noise)
    patient = Patient(*state[:_PATIENT])
    amounts = Amounts(*state[_PATIENT : _PATIENT + _AMOUNTS])
    dose = xp.clip(state.dose * by_index(FACTORS, action[:, 0], state.dose), LEAST, MOST)
    plan = action[:, 1]
    first = dose * by_index((1.0, 0.0, 0.0, 2.0), plan, dose)
    later = xp.where(plan == SKIP_ALL, 0.0, dose)
    forgotten = xp.floor(noise[:, 2] * (setting.interval / FORGETTING))
    doses: list[Array | None] = []
    for day in range(setting.interval):
        doses += [xp.where(forgotten == day, 0.0, later if day else first), None]

    to_diet, to_measured = normal_pair(noise[:, 0], noise[:, 1])
    decay = float(np.exp(-setting.interval / DIET_DAYS))
    diet = decay * state.diet + DIET_SPREAD * (1.0 - decay**2) ** 0.5 * to_diet
    amounts, course = advance(patient, amounts, patient.ec50 * xp.exp(diet), doses)
    measured = course.inr * xp.exp(MEASURED_SPREAD * to_measured)
    given = (first + (setting.interval - 1) * later) / setting.interval
    after = State(
        *patient,
        *amounts,
        diet,
        dose,
        xp.concat([measured[:, None], state.measured[:, :-1]], axis=1),
        xp.concat([given[:, None], state.given[:, :-1]], axis=1),
        state.visits + 1,
        state.in_range + setting.interval - (course.below + course.above) * (STEP / 24.0),
        state.far_above + course.far_above * (STEP / 24.0),
    )
    return after, -events(course, len(doses)), xp.zeros_like(state.visits, dtype=xp.bool)


def observe(state: State, setting: Setting) -> Array:
    """What the doctor knows, shape (n, width)."""
    xp = array_namespace(state.dose)
    columns = [
        xp.astype(state.visits, state.dose.dtype) * (setting.interval / DAYS),
        (state.age - 70.0) / 20.0,
        xp.log(state.dose / START),
    ]
    if setting.genotyped:
        columns.append(by_index(CYP2C9_CLEARANCE, state.cyp2c9, state.dose))
        columns.append(by_index(VKORC1_EC50, state.vkorc1, state.dose) / VKORC1_EC50[0])
    known = [xp.stack(columns, axis=1), xp.log(state.measured / 2.5), state.given / START]
    return xp.concat(known, axis=1)


def reference(state: State, protocol: Protocol) -> Array:
    """The titration table of the European Society of Cardiology, at some visits."""
    xp = array_namespace(state.dose)
    ratio = state.measured[:, 0]
    held = (state.given[:, 0] == 0.0) & (state.visits > 0)
    hold = (ratio >= 5.0) | (held & (ratio > 3.0))
    restart = held & ~hold
    small, large = protocol.change, protocol.change + 1
    raised = xp.where(ratio < 1.5, large, xp.where(ratio < 2.0, small, 0))
    change = xp.where(state.visits < protocol.wait, 0, raised) - xp.where(ratio > 3.0, small, 0)
    due = (state.visits % protocol.every == 0) | (ratio >= 4.0)
    change = xp.where(restart, -large, xp.where(due & ~hold, change, 0))
    plan = xp.where(hold, SKIP_ALL, xp.where(ratio >= 4.0, SKIP_ONE, AS_IS))
    return xp.stack([xp.clip(SAME + change, 0, len(FACTORS) - 1), plan], axis=1)


def search_protocol(setting: Setting, episodes: int) -> Protocol:
    """The protocol with which the table does best."""
    choices = [Protocol(*c) for c in product((1, 2, 3, 4), (1, 2, 3), (1, 2, 3))]

    def mean_return(protocol: Protocol) -> float:
        return float(reference_returns(_scenario(setting, protocol, None), episodes).mean())

    return max(choices, key=mean_return)


def metrics(state: State) -> dict[str, Array]:
    """How well the treatment has gone so far."""
    return {
        "days in range": state.in_range,
        "days above 5": state.far_above,
        "maintenance dose": state.dose,
    }


def render(state: State, setting: Setting) -> Picture:
    """The last INRs within their range, and the doses that led to them."""
    canvas = Canvas(640, 360, left=-MEMORY - 0.9, right=1.6, bottom=-2.6, top=6.6)
    canvas.rectangle((-MEMORY + 0.2, RANGES[0]), (0.8, RANGES[1]), "pale")
    for level in range(1, 7):
        canvas.line((-MEMORY + 0.2, level), (0.8, level), "line", 1)
        canvas.text((-MEMORY + 0.1, level), str(level), anchor="rm")
    canvas.text((-MEMORY - 0.8, 6.3), "INR", size=16)
    visits = int(state.visits[0])
    shown = min(MEMORY, visits + 1)
    ratios = [min(6.0, float(x)) for x in state.measured[0, :shown]]
    points = [(0.5 - age, ratio) for age, ratio in enumerate(ratios)]
    canvas.path(points, "dark", 3)
    for point in points:
        is_within = RANGES[0] <= point[1] <= RANGES[1]
        colour = "green" if is_within else "red" if point[1] > RANGES[2] else "orange"
        canvas.circle(point, 0.09, colour)
    for age in range(min(MEMORY, visits)):
        given = float(state.given[0, age])
        canvas.rectangle((-0.4 - age, -1.6), (0.4 - age, -1.6 + 0.12 * given), "blue")
        canvas.text((-age, -1.9), f"{given:.1f} mg", anchor="mm")
    canvas.text((-MEMORY - 0.8, -1.4), "a day", size=14)
    day = visits * setting.interval
    canvas.text((-MEMORY - 0.8, -2.35), f"Day {day} of {DAYS}", size=16)
    within = f"{float(state.in_range[0]):.0f} days in range"
    canvas.text((1.5, -2.35), f"age {float(state.age[0]):.0f}, {within}", size=16, anchor="rm")
    return canvas.picture()


def scenario(interval: int = 4, genotyped: bool = False) -> Scenario[State]:
    """`interval`: days between two visits, 2 to 14. `genotyped`: whether the patient's genotype is
    known. Raises ValueError for other intervals."""
    if not 2 <= interval <= 14:
        raise ValueError(f"interval must be between 2 and 14 days, not {interval}")
    setting = Setting(interval, bool(genotyped))
    if setting == Setting(4, False):
        return _scenario(setting, PROTOCOL, RETURNS)
    return _measured(setting)


@cache
def _measured(setting: Setting) -> Scenario[State]:
    protocol = search_protocol(setting, episodes=512)
    returns = measure(_scenario(setting, protocol, None), episodes=2048)
    return _scenario(setting, protocol, returns)


def _scenario(setting: Setting, protocol: Protocol, returns: Returns | None) -> Scenario[State]:
    width = 3 + 2 * setting.genotyped + 2 * MEMORY
    return Scenario(
        name="treatment",
        observation_space=spaces.Box(-3.0, 4.0, (width,), np.float32),
        action_space=spaces.MultiDiscrete([len(FACTORS), 4]),
        max_steps=DAYS // setting.interval,
        reset=partial(reset, setting=setting),
        step=partial(step, setting=setting),
        observe=partial(observe, setting=setting),
        reset_noise=8,
        step_noise=3,
        reference=partial(reference, protocol=protocol),
        returns=returns,
        render=partial(render, setting=setting),
        metrics=metrics,
    )
