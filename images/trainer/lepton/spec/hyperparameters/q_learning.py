"""Hyperparameters of QLearning. Sources are in `lepton.algorithms.q_learning`."""

from typing import Annotated, ClassVar

from pydantic import Field

from lepton.spec.hyperparameters.base import Hyperparameters
from lepton.spec.hyperparameters.exploration import EpsilonGreedyHyperparameters


class QLearningHyperparameters(Hyperparameters, EpsilonGreedyHyperparameters):
    """What QLearning can be told."""

    environments: ClassVar[int] = 16

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Step towards a target at the first visit of a state and action."""
    learning_rate_decay: Annotated[float, Field(ge=0, le=1)] = 0.7
    """The step of visit n is learningRate / n^learningRateDecay; 0 keeps it constant."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Steps that each environment makes between two updates."""
    initial_value: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """What every action is thought to be worth at first; a high value explores by itself."""
    final_epsilon: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of random actions after exploration_fraction of the run."""
    exploration_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Part of the run over which the share falls, linearly."""
