"""Treatment: the body follows the published model, and the table is used as well as it can be."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenarios import make_scenario, treatment
from lepton.environments.scenarios import treatment_body as body
from lepton.environments.scores import play, reference_returns

SETTING = treatment.Setting(interval=4, genotyped=False)


def a_patient(clearance: float = 0.314, ec50: float = 4.61, slow_time: float = 120.0) -> Any:
    zero = np.zeros(1)
    keep, mean = body.kinetics(zero + clearance, zero + body.CENTRAL)
    slow = 1.0 - np.exp(-body.STEP / (zero + slow_time))
    index = np.zeros(1, np.int64)
    return body.Patient(zero + 71.0, index, index, keep, mean, zero + ec50, slow)


def inr_by_day(patient: Any, dose: float, days: int) -> list[float]:
    amounts, result = body.untreated(np.zeros(1)), []
    for _ in range(days):
        daily = [np.array([dose]), None]
        amounts, course = body.advance(patient, amounts, patient.ec50, daily)
        result.append(float(course.inr[0]))
    return result


def inr_by_small_steps(
    clearance: float, ec50: float, slow_time: float, dose: float, days: int
) -> list[float]:
    """The differential equations as published, by Euler steps of three minutes."""
    step = 0.05
    centre = rim = 0.0
    chain, slow, result = np.ones(6), 1.0, []
    for number in range(round(days * 24 / step)):
        if number % round(24 / step) == 0:
            centre += dose / 2
        relative = (centre / body.CENTRAL / ec50) ** body.SIGMOIDICITY
        made = 1.0 - relative / (1.0 + relative)
        exchange = body.EXCHANGE * (centre / body.CENTRAL - rim / body.PERIPHERAL)
        centre += step * (-clearance * centre / body.CENTRAL - exchange)
        rim += step * exchange
        before = np.concatenate([[made], chain[:-1]])
        chain = chain + step / body.CHAIN_TIME * (before - chain)
        slow += step / slow_time * (made - slow)
        if (number + 1) % round(24 / step) == 0:
            result.append(1.0 + body.SCALE * (1.0 - chain[-1] * slow) ** body.EXPONENT)
    return result


@pytest.mark.parametrize(
    ("clearance", "ec50", "slow_time"),
    [(0.314, 4.61, 120.0), (0.314, 2.20, 40.0), (0.314 * 0.148, 4.61, 120.0)],
)
def test_steps_of_twelve_hours_follow_the_differential_equations(
    clearance: float, ec50: float, slow_time: float
) -> None:
    coarse = inr_by_day(a_patient(clearance, ec50, slow_time), dose=5.0, days=30)
    fine = inr_by_small_steps(clearance, ec50, slow_time, dose=5.0, days=30)
    assert np.allclose(coarse, fine, atol=0.07)


def test_no_warfarin_is_lost_but_by_clearance() -> None:
    patient = a_patient()
    centre, rim, cleared = 2.5, 0.0, 0.0
    keep, mean = patient.keep[0], patient.mean[0]
    for _ in range(20):
        cleared += 0.314 * body.STEP * (mean[0] * centre + mean[1] * rim)
        centre, rim = keep[0] * centre + keep[1] * rim, keep[2] * centre + keep[3] * rim
        assert centre + rim + cleared == pytest.approx(2.5)


def test_doses_of_the_label_bring_typical_patients_into_range() -> None:
    for v, ec50 in enumerate(body.VKORC1_EC50):
        for c, share in enumerate(body.CYP2C9_CLEARANCE[:3]):
            dose = treatment.GENOTYPE_START[v][c]
            steady = inr_by_day(a_patient(body.CLEARANCE * share, ec50), dose, 84)[-1]
            assert 1.6 < steady < 3.3


def test_an_inr_above_5_is_by_far_the_most_dangerous() -> None:
    zero = np.zeros(1)

    def events(below: float, above: float, far_above: float) -> float:
        course = body.Course(zero, zero + below, zero + above, zero + far_above)
        return float(body.events(course, 2)[0])

    in_range = events(0, 0, 0)
    assert in_range == pytest.approx(43 / 365.25)
    assert events(0, 2, 0) < events(2, 0, 0) < 2.5 * in_range
    assert events(0, 2, 2) > 11 * in_range


def prescribe(state: Any, factor: float, plan: int) -> Any:
    count = len(state.age)
    seeds = np.arange(count, dtype=np.int64)
    action = np.tile([treatment.FACTORS.index(factor), plan], (count, 1))
    return treatment.step(state, action, uniform(seeds, seeds * 0 + 5, 3), SETTING)[0]


def new_patients(count: int) -> Any:
    seeds = np.arange(count, dtype=np.int64)
    return treatment.reset(count, uniform(seeds, seeds * 0, 8), SETTING)


def test_doses_withheld_are_not_given_and_leave_the_maintenance_dose() -> None:
    state = prescribe(new_patients(30), 1.0, treatment.SKIP_ALL)
    assert not state.centre.any()
    assert np.allclose(state.measured[:, 0], 1.0, atol=0.15)
    assert np.array_equal(state.dose, np.full(30, 5.0, np.float32))
    one, double = (prescribe(new_patients(30), 1.0, plan) for plan in (1, 3))
    assert np.allclose(one.given[:, 0], 15.0 / 4)
    assert np.allclose(double.given[:, 0], 25.0 / 4)


def test_the_table_holds_at_5_and_restarts_lower_in_range() -> None:
    state = new_patients(5)._replace(visits=np.full(5, 6))
    measured = np.array([5.2, 3.4, 2.6, 1.4, 4.2], np.float32)
    given = np.array([4.0, 0.0, 0.0, 4.0, 4.0], np.float32)
    state = state._replace(
        measured=np.stack([measured] * 4, axis=1), given=np.stack([given] * 4, axis=1)
    )
    action = treatment.reference(state, treatment.Protocol(change=1, every=1, wait=0))
    factors = [treatment.FACTORS[i] for i in action[:, 0]]
    assert factors == [1.0, 1.0, 0.85, 1.15, 0.9]
    assert action[:, 1].tolist() == [2, 2, 0, 0, 1]


def test_the_reference_beats_every_fixed_dose() -> None:
    scenario = treatment.scenario()

    def fixed(dose: float) -> float:
        def policy(state: Any, _: Any) -> Any:
            # The factor that comes closest to this dose.
            ratio = dose / state.dose[:, None] / np.array(treatment.FACTORS)
            nearest = np.abs(np.log(ratio)).argmin(axis=1)
            return np.stack([nearest, np.zeros_like(nearest)], axis=1)

        return float(scenario.score(play(scenario, policy, 0, 1000)).mean())

    assert max(fixed(dose) for dose in (2.0, 3.0, 4.0, 5.0)) < 60.0


def test_no_neighbour_of_the_protocol_does_better() -> None:
    def mean_return(*protocol: int) -> float:
        made = treatment._scenario(SETTING, treatment.Protocol(*protocol), None)
        return float(reference_returns(made, 2048).mean())

    change, every, wait = treatment.PROTOCOL
    best = mean_return(change, every, wait)
    assert mean_return(change - 1, every, wait) < best
    assert mean_return(change, every + 1, wait) < best
    assert mean_return(change, every, wait - 1) < best


def test_a_known_genotype_makes_the_start_safer() -> None:
    known = make_scenario("treatment", genotyped=True)
    assert known.observation_space.shape == (13,)
    assert known.returns is not None
    assert known.returns.reference > treatment.RETURNS.reference


def test_intervals_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(ValueError, match="interval must be between 2 and 14 days, not 1"):
        make_scenario("treatment", interval=1)
