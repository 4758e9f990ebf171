"""Hyperparameters of PPO. Sources of the defaults are in `lepton.algorithms.ppo`."""

from typing import Annotated

from pydantic import Field

from lepton.spec.hyperparameters.base import NetworkHyperparameters


class PPOHyperparameters(NetworkHyperparameters):
    """What PPO can be told. Policy and value function have a network each."""

    anneal_learning_rate: bool = False
    """Lower the learning rate linearly to zero over maxSteps or maxEpisodes."""
    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Steps that each environment makes between two updates."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 5
    """Passes over the data of one update."""
    minibatches: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Parts that the data of one pass is split into; one gradient step each."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Weight of longer returns in the advantage estimate, between one step (0) and all (1)."""
    clip_range: Annotated[float, Field(gt=0, le=10)] = 0.2
    """How far the probability of an action may move from its old value before its gradient is
    cut off."""
    entropy_coefficient: Annotated[float, Field(ge=0, le=10)] = 0.01
    """Weight of the entropy bonus, which keeps the policy exploring."""
    value_coefficient: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Weight of the value function's loss."""
    target_kl: Annotated[float, Field(gt=0)] | None = None
    """End an update's passes early once the policy moved this far (approximate KL divergence)."""
    normalise_advantages: bool = True
    """Scale advantages to mean 0 and standard deviation 1 over the data of one update."""
    normalise_rewards: bool = False
    """Scale rewards by the running standard deviation of the discounted return, which the model
    keeps."""
