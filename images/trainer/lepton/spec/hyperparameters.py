"""Hyperparameters of each algorithm: names, ranges and defaults. No torch here."""

import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from lepton.spec.agent import SUPPORTED_ALGORITHMS, Algorithm
from lepton.spec.base import SpecModel


class Activation(StrEnum):
    """Non-linearities of the networks that lepton builds."""

    TANH = "Tanh"
    RELU = "ReLU"


class PPOHyperparameters(SpecModel):
    """What PPO can be told. Sources of the defaults are in `lepton.algorithms.ppo`."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Step size of Adam."""
    anneal_learning_rate: bool = False
    """Lower the learning rate linearly to zero over maxSteps or maxEpisodes."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Steps that each environment makes between two updates."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 10
    """Passes over the data of one update."""
    minibatches: Annotated[int, Field(ge=1, le=100_000)] = 2
    """Parts that the data of one pass is split into; one gradient step each."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Discount of future rewards, per step."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Weight of longer returns in the advantage estimate, between one step (0) and all (1)."""
    clip_range: Annotated[float, Field(gt=0, le=10)] = 0.2
    """How far the probability of an action may move from its old value before its gradient is
    cut off."""
    entropy_coefficient: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Weight of the entropy bonus, which keeps the policy exploring."""
    value_coefficient: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Weight of the value function's loss."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 0.5
    """Gradients with a larger norm are scaled down to it; 0 switches that off."""
    target_kl: Annotated[float, Field(gt=0)] | None = None
    """End an update's passes early once the policy moved this far (approximate KL divergence)."""
    normalise_advantages: bool = True
    """Scale advantages to mean 0 and standard deviation 1 over the data of one update."""
    normalise_observations: bool = False
    """Scale observations by their running mean and standard deviation, which the model keeps."""
    normalise_rewards: bool = False
    """Scale rewards by the running standard deviation of the discounted return, which the model
    keeps."""
    hidden_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=0, max_length=16)
    ] = Field(default_factory=lambda: [64, 64])
    """Units of each hidden layer; policy and value function have a network each."""
    activation: Activation = Activation.TANH
    """Non-linearity after each hidden layer."""


DEFAULT_ENVIRONMENTS = 32
"""Copies of the environment that each process steps together unless told otherwise."""


def validate_hyperparameters(algorithm: Algorithm, values: Mapping[str, Any]) -> PPOHyperparameters:
    """The algorithm's hyperparameters with `values` over its defaults.

    Names are taken in camelCase or snake_case. Raises ValueError with one line that names the
    wrong value and what is right.
    """
    if algorithm not in SUPPORTED_ALGORITHMS:
        known = ", ".join(SUPPORTED_ALGORITHMS)
        raise ValueError(f"algorithm {algorithm} is not supported yet; this version has {known}")
    try:
        return PPOHyperparameters.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_line(algorithm, e) for e in error.errors())) from None


def _line(algorithm: Algorithm, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        names = [str(field.alias) for field in PPOHyperparameters.model_fields.values()]
        near = difflib.get_close_matches(path, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"hyperparameter {path} is unknown to {algorithm}{hint}; it has {', '.join(names)}"
    text = error["msg"][0].lower() + error["msg"][1:]
    return f"hyperparameter {path}: {text}, not {error['input']!r}"
