"""Hyperparameters of SAC. Sources of the defaults are in `lepton.algorithms.sac`."""

from typing import Annotated, ClassVar

from pydantic import Field

from lepton.spec.hyperparameters.base import HiddenSizes
from lepton.spec.hyperparameters.off_policy import OffPolicyHyperparameters


class SACHyperparameters(OffPolicyHyperparameters):
    """What SAC can be told. Policy and critics have networks of their own. Steps are environment
    steps of each process."""

    environments: ClassVar[int] = 4

    replay_capacity: Annotated[int, Field(ge=1, le=10**9)] = 1_000_000
    """Steps that the replay buffer holds; older ones are forgotten."""
    hidden_sizes: HiddenSizes = Field(default_factory=lambda: [128, 128])
    """Units of each hidden layer, of every network alike."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 0.0
    """Gradients with a larger norm are scaled down to it; 0 switches that off."""
    target_rate: Annotated[float, Field(gt=0, le=1)] = 0.005
    """How far the target critics go towards the critics with every gradient step."""
    target_entropy: float | None = None
    """Entropy of the policy that the temperature is steered to. Default: minus the number of
    numbers in an action."""
    initial_temperature: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Weight of the entropy beside rewards, before it is steered."""
