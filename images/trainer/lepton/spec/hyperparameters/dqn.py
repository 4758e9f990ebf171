"""Hyperparameters of DQN. Sources of the defaults are in `lepton.algorithms.dqn`."""

from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from lepton.spec.base import refusal
from lepton.spec.hyperparameters.base import HiddenSizes
from lepton.spec.hyperparameters.off_policy import OffPolicyHyperparameters


class Distribution(StrEnum):
    """What is learned of an action's return."""

    NONE = "None"
    C51 = "C51"
    QUANTILE_REGRESSION = "QuantileRegression"


class DQNHyperparameters(OffPolicyHyperparameters):
    """What DQN can be told. Steps are environment steps of each process."""

    environments: ClassVar[int] = 16

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Step size of Adam."""
    replay_ratio: Annotated[float, Field(gt=0, le=1000)] = 0.5
    """Gradient steps for each step."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    """Steps drawn from the buffer for one gradient step."""
    hidden_sizes: HiddenSizes = Field(default_factory=lambda: [128, 128])
    """Units of each hidden layer."""
    target_interval: Annotated[int, Field(ge=1, le=10**9)] = 256
    """Steps after which the target network becomes a copy of the network; at the end of a round
    of gradient steps, so at most once per round."""
    exploration_steps: Annotated[int, Field(ge=1, le=10**12)] = 10_000
    """Steps over which the share of random actions falls from 1 to finalEpsilon."""
    final_epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of random actions from then on."""
    double: bool = True
    """The network chooses the next action and the target network values it, which overestimates
    less than the largest of the target network's values."""
    dueling: bool = False
    """Learn the value of a state and the advantages of its actions in branches of their own."""
    n_step: Annotated[int, Field(ge=1, le=1000)] = 3
    """Rewards summed up before the target network values the rest."""
    prioritised_replay: bool = False
    """Draw steps in proportion to how much there was to learn from them."""
    priority_exponent: Annotated[float, Field(ge=0, le=1)] = 0.6
    """With prioritisedReplay: from even draws (0) to draws proportional to the error (1)."""
    priority_correction: Annotated[float, Field(ge=0, le=1)] = 0.4
    """With prioritisedReplay: how far weights make up for uneven draws at first; fully at the
    end of training."""
    distribution: Distribution = Distribution.NONE
    """Learn only an action's expected return (None), its distribution over fixed values (C51), or
    its quantiles (QuantileRegression)."""
    atoms: Annotated[int, Field(ge=2, le=1000)] = 51
    """Values of C51, or quantiles."""
    value_range: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [-100.0, 100.0]
    )
    """Smallest and largest return that C51 can tell."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 10.0
    """Gradients with a larger norm are scaled down to it; 0 switches that off."""

    @model_validator(mode="after")
    def _value_range_is_one(self) -> Self:
        if self.value_range[0] >= self.value_range[1]:
            raise refusal("valueRange must be [smallest, largest]", field="valueRange")
        return self
