"""Hyperparameters of PQN. Sources of the defaults are in `lepton.algorithms.pqn`."""

from typing import Annotated, ClassVar

from pydantic import Field

from lepton.spec.hyperparameters.base import Activation, NetworkHyperparameters
from lepton.spec.hyperparameters.exploration import EpsilonGreedyHyperparameters


class PQNHyperparameters(NetworkHyperparameters, EpsilonGreedyHyperparameters):
    """What PQN can be told."""

    environments: ClassVar[int] = 32

    anneal_learning_rate: bool = True
    """Lower the learning rate linearly to zero over maxSteps or maxEpisodes."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 10.0
    """Gradients with a larger norm are scaled down to it; 0 switches that off."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Steps that each environment makes between two updates."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 4
    """Passes over the data of one update."""
    minibatches: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Parts that the data of one pass is split into; one gradient step each."""
    td_lambda: Annotated[float, Field(ge=0, le=1)] = 0.65
    """Weight of longer returns in the targets, between one step (0) and all (1)."""
    hidden_sizes: Annotated[
        list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=0, max_length=16)
    ] = Field(default_factory=lambda: [128, 128])
    """Units of each hidden layer, each of which is normalised."""
    activation: Activation = Activation.RELU
    """Non-linearity after each hidden layer."""
