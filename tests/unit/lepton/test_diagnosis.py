"""Diagnosis: the network says what its sources say, and beliefs are what they claim to be."""

from typing import Any

import numpy as np
import pytest

from lepton.environments.noise import uniform
from lepton.environments.scenarios import diagnosis, make_scenario
from lepton.environments.scenarios.diagnosis_network import (
    ACS,
    AORTA,
    DISEASES,
    EXAMINATION,
    MISSED,
    NEEDLESS,
    OLDER,
    PE,
    PERICARDITIS,
    PNEUMONIA,
    PNEUMOTHORAX,
    SETUP,
    TESTS,
    UNDECIDED,
    tables,
)
from lepton.environments.scores import play, reference_returns

ORDERS = [test.name for test in TESTS]
SETTING = diagnosis.Setting(len(TESTS), 1.0)


def patients(count: int, seed: int = 0) -> diagnosis.State:
    seeds = np.arange(count, dtype=np.int64) + seed
    return diagnosis.reset(count, uniform(seeds, np.zeros_like(seeds), 6))


def act(state: diagnosis.State, action: int, draw: int = 1) -> tuple[diagnosis.State, Any, Any]:
    count = len(state.cause)
    seeds = np.arange(count, dtype=np.int64)
    noise = uniform(seeds, np.full(count, draw, np.int64), 4)
    return diagnosis.step(state, np.full(count, action), noise, SETTING)


def shown(finding: str) -> Any:
    """Probability of the finding and of each cause together, shape (diseases, 4)."""
    know = tables(np, None)
    mix = (1 - OLDER) * know.causes[0] + OLDER * know.causes[1]
    for number, test in enumerate((EXAMINATION, *TESTS)):
        names = [f.name for f in test.findings]
        if finding in names:
            there = know.shown[number, :, names.index(finding)]
            return (mix * there).reshape(len(DISEASES), 4), mix.reshape(len(DISEASES), 4)
    raise AssertionError(finding)


@pytest.mark.parametrize(
    ("finding", "disease", "sensitivity"),
    [
        ("troponin raised", ACS, 0.90),
        ("ischaemic changes", ACS, 0.32),
        ("D-dimer raised", PE, 0.97),
        ("D-dimer raised", AORTA, 0.95),
        ("right heart strain", PE, 0.53),
        ("thrombus in a leg", PE, 0.49),
        ("clot on CT", PE, 0.94),
        ("sudden severe pain", AORTA, 0.84),
        ("wide mediastinum", AORTA, 0.64),
        ("consolidation on X-ray", PNEUMONIA, 0.77),
        ("consolidation on ultrasound", PNEUMONIA, 0.95),
        ("pleural air on X-ray", PNEUMOTHORAX, 0.40),
        ("no lung sliding", PNEUMOTHORAX, 0.79),
        ("widespread ST elevation", PERICARDITIS, 0.60),
        ("C-reactive protein raised", PERICARDITIS, 0.78),
    ],
)
def test_sensitivities_are_those_of_the_sources(
    finding: str, disease: int, sensitivity: float
) -> None:
    joint, mix = shown(finding)
    assert joint[disease].sum() / mix[disease].sum() == pytest.approx(sensitivity, abs=0.035)


def test_findings_depend_on_each_other_even_given_the_disease() -> None:
    strain, mix = shown("right heart strain")
    troponin, _ = shown("troponin raised")
    within = mix[PE].sum()
    both = (strain[PE] * troponin[PE] / mix[PE]).sum() / within
    assert both > 1.2 * (strain[PE].sum() / within) * (troponin[PE].sum() / within)


def test_of_patients_with_a_belief_of_p_a_share_of_p_has_the_disease() -> None:
    state = patients(20_000)
    for draw, name in enumerate(("D-dimer", "echocardiogram", "troponin"), start=1):
        state, _, _ = act(state, ORDERS.index(name), draw)
    belief = diagnosis.disease_belief(state)
    assert np.allclose(belief.sum(axis=1), 1.0, atol=1e-5)
    disease = state.cause // 4
    for number in range(len(DISEASES)):
        has = disease == number
        for low, high in ((0.0, 0.05), (0.05, 0.3), (0.3, 1.01)):
            group = (belief[:, number] >= low) & (belief[:, number] < high)
            error = 4 * (belief[group, number].std() + 0.5) / group.sum() ** 0.5
            assert abs(has[group].mean() - belief[group, number].mean()) < error


def test_what_a_first_test_needs_is_paid_once() -> None:
    state, first, _ = act(patients(5), ORDERS.index("D-dimer"))
    state, second, _ = act(state, ORDERS.index("troponin"))
    assert np.array_equal(first, np.full(5, -25.0 - SETUP["blood"]))
    assert np.array_equal(second, np.full(5, -20.0))
    assert np.array_equal(state.spent, np.full(5, 45.0 + SETUP["blood"]))


def test_a_repeated_test_costs_again_and_shows_the_same() -> None:
    once, _, _ = act(patients(500), ORDERS.index("ECG"))
    twice, reward, _ = act(once, ORDERS.index("ECG"), draw=2)
    assert np.array_equal(twice.findings, once.findings)
    assert np.array_equal(twice.belief, once.belief)
    assert np.array_equal(reward, np.full(500, -20.0))
    assert np.array_equal(twice.orders, np.full(500, 2))


def test_naming_costs_what_the_wrong_name_can_be_expected_to() -> None:
    state = patients(1000)
    _, reward, ended = act(state, len(TESTS) + AORTA)
    belief = diagnosis.disease_belief(state)
    others = [d for d in range(len(DISEASES)) if d != AORTA]
    harm = sum(belief[:, d] * (MISSED[d] + NEEDLESS[AORTA]) for d in others)
    assert ended.all()
    assert np.allclose(reward, -harm, rtol=1e-5)


def test_a_thirteenth_order_ends_the_episode_without_a_name() -> None:
    state = patients(50)
    for _ in range(len(TESTS)):
        state, _, ended = act(state, ORDERS.index("ECG"))
        assert not ended.any()
    _, reward, ended = act(state, ORDERS.index("ECG"))
    missed = diagnosis.disease_belief(state) @ np.array(MISSED)
    assert ended.all()
    assert np.allclose(reward, -missed - UNDECIDED - 20.0, rtol=1e-5)


def test_the_reference_beats_naming_at_once_and_a_fixed_battery_of_tests() -> None:
    scenario = diagnosis.scenario()
    battery = [ORDERS.index(name) for name in ("ECG", "troponin", "D-dimer", "chest X-ray")]

    def name_likeliest(state: diagnosis.State) -> Any:
        return len(TESTS) + diagnosis.disease_belief(state).argmax(axis=1)

    def fixed(state: diagnosis.State, _: Any) -> Any:
        done = int(state.orders.max())
        chosen = battery[done] if done < len(battery) else 0
        return np.where(done < len(battery), chosen, name_likeliest(state))

    at_once = scenario.score(play(scenario, lambda s, _: name_likeliest(s), 0, 2000)).mean()
    after_battery = scenario.score(play(scenario, fixed, 0, 2000)).mean()
    assert at_once < after_battery < 90.0


def test_no_other_threshold_makes_the_reference_better() -> None:
    def mean_return(threshold: float) -> float:
        made = diagnosis._scenario(SETTING, threshold, None)
        return float(reference_returns(made, 2048).mean())

    best = mean_return(diagnosis.THRESHOLD)
    assert diagnosis.THRESHOLD in diagnosis.THRESHOLDS
    for other in (min(diagnosis.THRESHOLDS), max(diagnosis.THRESHOLDS)):
        assert mean_return(other) < best


def test_higher_stakes_buy_more_tests_and_keep_the_meaning_of_a_score() -> None:
    careful = make_scenario("diagnosis", stakes=4.0)
    assert careful.returns is not None
    scores = careful.score(reference_returns(careful, 1024, seed=10**6))
    assert scores.mean() == pytest.approx(100.0, abs=4 * scores.std() / len(scores) ** 0.5 + 1)
    assert careful.returns.reference > 4.0 * diagnosis.RETURNS.reference


def test_parameters_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(ValueError, match="orders must be between 1 and 12, not 13"):
        make_scenario("diagnosis", orders=13)
    with pytest.raises(ValueError, match=r"stakes must be between 0\.1 and 10, not 0"):
        make_scenario("diagnosis", stakes=0)
