"""What makes up one of lepton's own environments: pure functions over a batch, and its spaces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = Any
"""A NumPy array or a torch tensor: the functions take either, by array_api_compat."""

S = TypeVar("S", bound=tuple[Array, ...])


@dataclass(frozen=True)
class Returns:
    """Mean sum of an episode's rewards, as the scenario pays them, of the two policies that
    define its score."""

    random: float
    reference: float


@dataclass(frozen=True)
class Scenario(Generic[S]):
    """An environment as pure functions. Same input, same output; n is the batch's size.

    The state is a NamedTuple of arrays with a leading axis of length n; row i is the state of
    environment i. Noise is an array of independent uniform float32 numbers in [0, 1), shape
    (n, reset_noise) for `reset` and (n, step_noise) for `step`: the functions draw nothing
    themselves. They never change their arguments, and work on NumPy arrays and on torch tensors.
    """

    name: str
    observation_space: spaces.Box | spaces.Discrete
    action_space: spaces.Discrete | spaces.MultiDiscrete | spaces.Box
    max_steps: int
    """Steps after which an episode is truncated."""
    reset: Callable[[int, Array], S]
    """reset(n, noise) -> first states."""
    step: Callable[[S, Array, Array], tuple[S, Array, Array]]
    """step(state, action, noise) -> next states, rewards (n,), terminated (n,). Actions are what
    the action space holds, with a leading axis n."""
    observe: Callable[[S], Array]
    """observe(state) -> observations, with a leading axis n."""
    reset_noise: int = 0
    step_noise: int = 0
    reference: Callable[[S], Array] | None = None
    """reference(state) -> actions of the classical controller, which uses nothing that an agent
    could not have observed."""
    returns: Returns | None = None
    """What the score is made of; None for an environment that is judged by its plain rewards."""
    render: Callable[[S], NDArray[np.uint8]] | None = None
    """render(state of a batch of one, in NumPy) -> picture (height, width, 3)."""
    metrics: Callable[[S], dict[str, Array]] | None = None
    """What a person wants to know of a state beside rewards, by name, each (n,)."""

    @property
    def points_per_reward(self) -> float:
        """What a unit of reward adds to the score. Learners use it as the scale of rewards."""
        if self.returns is None:
            return 1.0
        return 100.0 / (self.returns.reference - self.returns.random)

    def score(self, returns: Array) -> Array:
        """Scores of episodes from the sums of their rewards: 0 is what random actions reach on
        average, 100 what the reference controller does."""
        if self.returns is None:
            return returns
        return (returns - self.returns.random) * self.points_per_reward


def with_parts(state: S, parts: list[Array]) -> S:
    """A state of the same kind with other arrays."""
    return type(state)(*parts)
