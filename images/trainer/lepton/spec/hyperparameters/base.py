"""What the hyperparameters of all algorithms, and of all that learn networks, have in common."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from lepton.spec.base import SpecModel


class Activation(StrEnum):
    """Non-linearities of the networks that lepton builds."""

    TANH = "Tanh"
    RELU = "ReLU"


HiddenSizes = Annotated[
    list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=0, max_length=16)
]


class Hyperparameters(SpecModel):
    """What every algorithm can be told. Sources of defaults are in the algorithm's module."""

    environments: ClassVar[int] = 32
    """Copies of the environment that each process steps together unless told otherwise."""

    gamma: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Discount of future rewards, per step."""


class NetworkHyperparameters(Hyperparameters):
    """What every algorithm that learns networks can be told."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Step size of Adam."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 0.5
    """Gradients with a larger norm are scaled down to it; 0 switches that off."""
    normalise_observations: bool = False
    """Scale observations by their running mean and standard deviation, which the model keeps."""
    hidden_sizes: HiddenSizes = Field(default_factory=lambda: [64, 64])
    """Units of each hidden layer, of every network alike."""
    activation: Activation = Activation.TANH
    """Non-linearity after each hidden layer."""
