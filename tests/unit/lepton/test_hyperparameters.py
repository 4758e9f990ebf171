"""Hyperparameters: defaults, names in both styles, and what is said about wrong ones."""

import pytest

from lepton.spec import Algorithm
from lepton.spec.hyperparameters import validate_hyperparameters


def test_names_are_taken_in_camel_case_and_snake_case() -> None:
    values = validate_hyperparameters(
        Algorithm.PPO, {"learningRate": 0.01, "clip_range": 0.3, "hiddenSizes": [32]}
    )
    assert (values.learning_rate, values.clip_range, values.hidden_sizes) == (0.01, 0.3, [32])


@pytest.mark.parametrize("algorithm", Algorithm)
def test_an_unknown_name_is_answered_with_all_that_the_algorithm_has(algorithm: Algorithm) -> None:
    with pytest.raises(ValueError, match=f"bogus is unknown to {algorithm}; it has ") as caught:
        validate_hyperparameters(algorithm, {"bogus": 1})
    names = str(caught.value).partition("it has ")[2].split(", ")
    defaults = validate_hyperparameters(algorithm, {})
    values = defaults.model_dump(mode="json", by_alias=True)
    assert sorted(names) == sorted(values)
    assert validate_hyperparameters(algorithm, {name: values[name] for name in names}) == defaults
    for name in names:
        with pytest.raises(ValueError, match=rf"\(did you mean {name}\?\)"):
            validate_hyperparameters(algorithm, {f"{name}x": 1})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"learningRat": 1}, r"learningRat is unknown to PPO \(did you mean learningRate\?\)"),
        ({"bogus": 1}, "it has gamma, learningRate, maxGradientNorm"),
        ({"learning_rat": 1}, r"learning_rat is unknown to PPO \(did you mean learningRate\?\)"),
        (
            {"learning_rate": 0.1, "learningRate": 0.1},
            "learningRate is given again as learning_rate; leave one",
        ),
        ({"gamma": 1.5}, "gamma: input should be less than or equal to 1, not 1.5"),
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, not 0"),
        ({"learningRate": "fast"}, "learningRate: input should be a valid number"),
        ({"learningRate": float("nan")}, "learningRate"),
        ({"hiddenSizes": [0]}, r"hiddenSizes\.0"),
        ({"activation": "Sigmoid"}, "'Tanh' or 'ReLU'"),
    ],
)
def test_wrong_hyperparameters_are_named_in_one_line(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        validate_hyperparameters(Algorithm.PPO, values)
    assert "\n" not in str(caught.value)
