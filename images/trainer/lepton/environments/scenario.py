"""What makes up one of lepton's own environments: pure functions over a batch, and its spaces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Array = NDArray[Any]
State = tuple[Array, ...]
"""Arrays with a leading batch axis; row i is the state of environment i."""


@dataclass(frozen=True)
class Scenario:
    """An environment as pure functions. Same input, same output; n is the batch's size.

    Noise is an array of independent uniform numbers in [0, 1), shape (n, reset_noise) for reset
    and (n, step_noise) for step: the functions themselves draw nothing.
    """

    name: str
    observation_space: spaces.Box
    action_space: spaces.Discrete | spaces.Box
    max_steps: int
    """Steps after which an episode is truncated."""
    reset: Callable[[int, Array], State]
    """reset(n, noise) -> state."""
    step: Callable[[State, Array, Array], tuple[State, Array, Array]]
    """step(state, action, noise) -> state, reward (n,), terminated (n,)."""
    observe: Callable[[State], NDArray[np.float32]]
    """observe(state) -> observations (n, ...)."""
    render: Callable[[State, int], NDArray[np.uint8]] | None = None
    """render(state, row) -> picture (height, width, 3)."""
    reset_noise: int = 0
    step_noise: int = 0
