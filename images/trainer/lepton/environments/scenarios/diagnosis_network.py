"""The Bayesian network behind `diagnosis`: causes of acute chest pain and what tests show of them.

Three hidden nodes, the disease, whether it is extensive, and whether the patient is chronically
ill, are the causes of all findings; the patient's age, which is known, is a parent of two of them.
A finding is a noisy-or gate of its causes with a leak, as in QMR-DT (Shwe et al., Methods of
Information in Medicine 30, 1991). Findings thus depend on each other even given the disease: a
small embolism escapes several tests at once, and chronic illness raises several markers together.

The gates are set so that the sensitivities and specificities of these sources come out, averaged
over extents; what no source gives is an estimate of the usual order of magnitude:
- first high-sensitivity troponin: Reichlin et al., NEJM 361, 2009; Zhelev et al., BMJ 350, 2015
- ECG: Fanaroff et al., JAMA 314, 2015; pericarditis: Adler et al. (ESC guidelines), Eur Heart J 36,
  2015; its C-reactive protein: Imazio et al., Circulation 123, 2011
- D-dimer, ultrasound of leg veins, CT of pulmonary arteries: Patel et al., Blood Advances 4, 2020
- D-dimer in aortic dissection: Watanabe et al., Scientific Reports 6, 2016; sudden pain, wide
  mediastinum: Klompas, JAMA 287, 2002; CT of the aorta: Shiga et al., Arch Intern Med 166, 2006
- echocardiogram: Fields et al., J Am Soc Echocardiogr 30, 2017 (right heart); Cecconi et al., Am
  Heart J 163, 2012 (aorta)
- X-ray and ultrasound of the lungs: Ye et al., PLoS ONE 10, 2015 (pneumonia); Alrajab et al.,
  Critical Care 17, 2013 (pneumothorax)
The mix of diseases is that of patients who are not obvious cases, with more of the rare and
dangerous than an emergency department sees (Kohn et al., J Emerg Med 29, 2005).
"""

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lepton.environments.scenario import Array

DISEASES = (
    "coronary syndrome",
    "pulmonary embolism",
    "aortic dissection",
    "pneumonia",
    "pneumothorax",
    "pericarditis",
    "harmless pain",
)
ACS, PE, AORTA, PNEUMONIA, PNEUMOTHORAX, PERICARDITIS, HARMLESS = range(7)

OLDER = 0.4  # share of patients of 65 years and more
PRIOR = (
    (0.16, 0.09, 0.02, 0.14, 0.08, 0.11, 0.40),
    (0.34, 0.12, 0.06, 0.18, 0.02, 0.05, 0.23),
)
"""Of each disease, for younger and for older patients."""
EXTENSIVE = (0.4, 0.5, 0.6, 0.5, 0.4, 0.4, 0.0)
"""Probability that the disease is extensive, by disease."""
CHRONIC = (0.10, 0.35)
"""Probability of chronic illness, for younger and for older patients."""

MISSED = (6_000.0, 7_000.0, 16_000.0, 2_000.0, 2_500.0, 800.0, 300.0)
"""US dollars that it costs not to treat a disease at once, by disease."""
NEEDLESS = (1_500.0, 1_200.0, 3_000.0, 200.0, 800.0, 150.0, 0.0)
"""US dollars that treatment costs a patient who does not have the disease, by disease."""
UNDECIDED = 1_000.0
"""US dollars on top of MISSED when no disease is named."""

Strength = tuple[float, float]
"""Probability that a disease causes a finding, when limited and when extensive."""


class Finding(NamedTuple):
    """One thing that a test shows or doesn't."""

    name: str
    leak: float
    """Probability without any of the causes."""
    diseases: dict[int, Strength]
    chronic: float = 0.0
    """Probability that chronic illness causes it."""


SETUP = {"nothing": 0.0, "blood": 50.0, "ultrasound": 80.0, "CT": 300.0}
"""US dollars on top of a test's cost for the first test that needs this: a sample drawn and sent, a
machine and someone to use it, transport and contrast medium."""


class Test(NamedTuple):
    """What can be ordered."""

    name: str
    cost: float
    """US dollars, with the time it takes and the harm it does."""
    needs: str
    """One of SETUP."""
    findings: tuple[Finding, ...]


EXAMINATION = Test(
    "history and examination",
    0.0,
    "nothing",
    (
        Finding(
            "pleuritic pain",
            0.10,
            {
                PE: (0.50, 0.40),
                PNEUMONIA: (0.35, 0.45),
                PNEUMOTHORAX: (0.75, 0.80),
                PERICARDITIS: (0.80, 0.85),
                HARMLESS: (0.12, 0.12),
            },
        ),
        Finding(
            "sudden severe pain",
            0.12,
            {ACS: (0.10, 0.30), PE: (0.25, 0.40), AORTA: (0.78, 0.86), PNEUMOTHORAX: (0.50, 0.70)},
        ),
        Finding(
            "fever",
            0.02,
            {PE: (0.05, 0.12), PNEUMONIA: (0.50, 0.70), PERICARDITIS: (0.20, 0.35)},
            chronic=0.03,
        ),
        Finding("tender chest wall", 0.06, {HARMLESS: (0.40, 0.40)}),
    ),
)

TESTS = (
    Test(
        "ECG",
        20.0,
        "nothing",
        (
            Finding(
                "ischaemic changes",
                0.06,
                {
                    ACS: (0.15, 0.50),
                    PE: (0.08, 0.20),
                    AORTA: (0.05, 0.20),
                    PERICARDITIS: (0.05, 0.10),
                },
                chronic=0.06,
            ),
            Finding("widespread ST elevation", 0.01, {PERICARDITIS: (0.45, 0.80)}),
        ),
    ),
    Test(
        "troponin",
        20.0,
        "blood",
        (
            Finding(
                "troponin raised",
                0.05,
                {
                    ACS: (0.84, 0.97),
                    PE: (0.15, 0.65),
                    AORTA: (0.15, 0.35),
                    PNEUMONIA: (0.05, 0.20),
                    PERICARDITIS: (0.20, 0.50),
                },
                chronic=0.30,
            ),
        ),
    ),
    Test(
        "troponin after 3 h",
        100.0,
        "blood",
        (
            Finding(
                "troponin rising",
                0.02,
                {
                    ACS: (0.90, 0.99),
                    PE: (0.08, 0.40),
                    AORTA: (0.08, 0.20),
                    PNEUMONIA: (0.02, 0.08),
                    PERICARDITIS: (0.15, 0.35),
                },
                chronic=0.04,
            ),
        ),
    ),
    Test(
        "D-dimer",
        25.0,
        "blood",
        (
            Finding(
                "D-dimer raised",
                0.25,
                {
                    ACS: (0.05, 0.15),
                    PE: (0.92, 0.99),
                    AORTA: (0.88, 0.99),
                    PNEUMONIA: (0.25, 0.60),
                    PERICARDITIS: (0.10, 0.20),
                },
                chronic=0.45,
            ),
        ),
    ),
    Test(
        "C-reactive protein",
        10.0,
        "blood",
        (
            Finding(
                "C-reactive protein raised",
                0.10,
                {
                    ACS: (0.05, 0.20),
                    PE: (0.20, 0.50),
                    AORTA: (0.25, 0.45),
                    PNEUMONIA: (0.65, 0.92),
                    PERICARDITIS: (0.65, 0.92),
                },
                chronic=0.40,
            ),
        ),
    ),
    Test(
        "chest X-ray",
        60.0,
        "nothing",
        (
            Finding(
                "consolidation on X-ray",
                0.06,
                {PE: (0.05, 0.20), PNEUMONIA: (0.64, 0.88)},
                chronic=0.06,
            ),
            Finding("pleural air on X-ray", 0.006, {PNEUMOTHORAX: (0.20, 0.70)}),
            Finding("wide mediastinum", 0.15, {AORTA: (0.45, 0.70)}, chronic=0.10),
        ),
    ),
    Test(
        "lung ultrasound",
        30.0,
        "ultrasound",
        (
            Finding(
                "consolidation on ultrasound",
                0.05,
                {PE: (0.10, 0.25), PNEUMONIA: (0.90, 0.98)},
                chronic=0.05,
            ),
            Finding("no lung sliding", 0.015, {PNEUMOTHORAX: (0.67, 0.96)}),
        ),
    ),
    Test(
        "echocardiogram",
        90.0,
        "ultrasound",
        (
            Finding("wall motion abnormal", 0.05, {ACS: (0.50, 0.88)}, chronic=0.18),
            Finding("right heart strain", 0.06, {PE: (0.18, 0.84)}, chronic=0.12),
            Finding(
                "pericardial effusion", 0.02, {AORTA: (0.02, 0.35), PERICARDITIS: (0.45, 0.85)}
            ),
            Finding("aortic root abnormal", 0.06, {AORTA: (0.35, 0.87)}, chronic=0.05),
        ),
    ),
    Test(
        "leg vein ultrasound",
        40.0,
        "ultrasound",
        (Finding("thrombus in a leg", 0.03, {PE: (0.33, 0.62)}, chronic=0.02),),
    ),
    Test(
        "CT pulmonary arteries",
        150.0,
        "CT",
        (
            Finding("clot on CT", 0.015, {PE: (0.90, 0.99)}, chronic=0.01),
            Finding("consolidation on CT", 0.03, {PE: (0.10, 0.30), PNEUMONIA: (0.93, 0.99)}),
            Finding("pleural air on CT", 0.002, {PNEUMOTHORAX: (0.97, 0.99)}),
        ),
    ),
    Test(
        "CT aorta",
        150.0,
        "CT",
        (
            Finding("flap on CT", 0.015, {AORTA: (0.98, 0.99)}),
            Finding("central clot on CT", 0.01, {PE: (0.15, 0.70)}),
        ),
    ),
    Test(
        "CT coronary arteries",
        250.0,
        "CT",
        (Finding("stenosis on CT", 0.07, {ACS: (0.93, 0.97)}, chronic=0.20),),
    ),
)

FINDINGS = tuple(f.name for t in (EXAMINATION, *TESTS) for f in t.findings)
CAUSES = len(DISEASES) * 4
"""Joint values of the hidden nodes; cause c has disease c // 4."""
MOST_FINDINGS = max(len(t.findings) for t in (EXAMINATION, *TESTS))


class Tables(NamedTuple):
    """The network in the form that a batch is computed with.

    An outcome is what all findings of one test show together; the outcomes of the examination
    come first, then those of each test.
    """

    causes: Array  # (2, CAUSES): probability of each cause, by age
    cumulative: Array  # (2, CAUSES): and the sums of those up to each
    shown: Array  # (tests + 1, CAUSES, MOST_FINDINGS): probability that a finding is there
    first: Array  # (tests + 1,): number of a test's first outcome, the examination's first
    likelihood: Array  # (outcomes, CAUSES): probability of an outcome
    signs: Array  # (outcomes, findings): 1 there, -1 not there, 0 not this test's
    of_test: Array  # (outcomes, tests): 1 where the outcome is that test's
    disease: Array  # (CAUSES, diseases): 1 where the cause has that disease
    cost: Array  # (tests,): US dollars, without setup
    setup: Array  # (tests,): US dollars
    shares: Array  # (tests,): bits of the tests that share its setup, int64
    harm: Array  # (diseases + 1, diseases): US dollars, of naming each or none, by true disease


@cache
def tables(xp: Any, device: Any) -> Tables:
    """The tables as arrays of this namespace, on this device."""
    return Tables(*(xp.asarray(part, device=device) for part in _tables()))


@cache
def _tables() -> Tables:
    every = (EXAMINATION, *TESTS)
    shown = np.zeros((len(every), CAUSES, MOST_FINDINGS), np.float32)
    first: list[int] = []
    likelihood: list[Any] = []
    signs: list[Any] = []
    of_test: list[Any] = []
    column = 0
    for number, test in enumerate(every):
        count = len(test.findings)
        there = np.stack([_probabilities(finding) for finding in test.findings], axis=1)
        shown[number, :, :count] = there
        first.append(len(likelihood))
        # Bit k of an outcome's number within its test tells finding k.
        for bits in product((False, True), repeat=count):
            seen = np.array(bits[::-1])
            likelihood.append(np.where(seen, there, 1.0 - there).prod(axis=1))
            row = np.zeros(len(FINDINGS))
            row[column : column + count] = np.where(seen, 1.0, -1.0)
            signs.append(row)
            of_test.append([float(number == other + 1) for other in range(len(TESTS))])
        column += count
    causes = np.stack([_priors(age) for age in (0, 1)])
    disease = np.repeat(np.eye(len(DISEASES)), 4, axis=0)
    cost = [test.cost for test in TESTS]
    setup = [SETUP[test.needs] for test in TESTS]
    shares = [sum(1 << k for k, t in enumerate(TESTS) if t.needs == test.needs) for test in TESTS]
    wrong = np.array(MISSED)[:, None] + np.array(NEEDLESS)
    np.fill_diagonal(wrong, 0.0)
    harm = np.vstack([wrong.T, np.array(MISSED) + UNDECIDED])

    def single(values: Any) -> NDArray[np.float32]:
        return np.asarray(values, np.float32)

    return Tables(
        single(causes),
        single(causes.cumsum(axis=1)),
        shown,
        np.array(first),
        single(likelihood),
        single(signs),
        single(of_test),
        single(disease),
        single(cost),
        single(setup),
        np.array(shares),
        single(harm),
    )


def _probabilities(finding: Finding) -> NDArray[np.float64]:
    """Of the finding, given each cause: noisy-or, shape (CAUSES,)."""
    absent = np.full((len(DISEASES), 2, 2), 1.0 - finding.leak)  # disease, extensive, chronic
    for disease, strengths in finding.diseases.items():
        absent[disease] *= 1.0 - np.array(strengths)[:, None]
    absent[:, :, 1] *= 1.0 - finding.chronic
    present: NDArray[np.float64] = 1.0 - absent.reshape(CAUSES)
    return present


def _priors(age: int) -> NDArray[np.float64]:
    """Of each cause, for younger (0) or older (1) patients, shape (CAUSES,)."""
    extensive = np.array(EXTENSIVE)
    by_extent = np.array(PRIOR[age])[:, None] * np.stack([1.0 - extensive, extensive], axis=1)
    chronic = np.array([1.0 - CHRONIC[age], CHRONIC[age]])
    joint: NDArray[np.float64] = by_extent[:, :, None] * chronic
    return joint.reshape(CAUSES)
