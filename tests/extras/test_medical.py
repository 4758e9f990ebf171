"""Extra `medical`: treatment of sepsis in intensive care, estimated from records (ICU-Sepsis)."""

from typing import Any


def test_the_treatment_of_sepsis_is_trained(train: Any) -> None:
    result = train("sepsis", steps=4000)
    # The reward is 1 for a patient who survives.
    assert 0.0 <= result.evaluation.reward_mean <= 1.0
