"""Hyperparameters of what learns from a replay buffer: DQN and SAC."""

from typing import Annotated

from pydantic import Field

from lepton.spec.hyperparameters.base import Activation, NetworkHyperparameters


class OffPolicyHyperparameters(NetworkHyperparameters):
    """What every algorithm with a replay buffer can be told. Steps are environment steps of each
    process."""

    horizon: Annotated[int, Field(ge=1, le=1_000_000)] = 8
    """Steps that each environment makes between two rounds of gradient steps."""
    replay_capacity: Annotated[int, Field(ge=1, le=10**9)] = 100_000
    """Steps that the replay buffer holds; older ones are forgotten."""
    learning_starts: Annotated[int, Field(ge=0, le=10**9)] = 1_000
    """Steps of random actions before anything is learned."""
    replay_ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Gradient steps for each step."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Steps drawn from the buffer for one gradient step."""
    activation: Activation = Activation.RELU
    """Non-linearity after each hidden layer."""
