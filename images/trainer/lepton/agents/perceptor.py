"""Perceptor: from the flattened observation to features."""

import math
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from lepton.errors import InputError

CLIP = 10.0
"""Normalised observations are cut off at this many standard deviations, as SB3's VecNormalize."""


class RunningMoments(nn.Module):
    """Mean and variance of all data so far, in float64, kept with the model's state.

    Batches are merged by the parallel form of Welford's algorithm (Chan, Golub, LeVeque 1979).
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))

    @torch.no_grad()
    def update(self, count: Tensor, total: Tensor, total_of_squares: Tensor) -> None:
        """Merge `count` rows with this sum and sum of squares (float64, shapes (), (size,))."""
        if not bool(count > 0):
            return
        mean = total / count
        variance = (total_of_squares / count - mean**2).clamp_min_(0.0)
        delta, all_count = mean - self.mean, self.count + count
        spread = self.variance * self.count + variance * count
        spread = spread + delta**2 * (self.count * count / all_count)
        self.mean.copy_(self.mean + delta * (count / all_count))
        self.variance.copy_(spread / all_count)
        self.count.copy_(all_count)


class Perceptor(nn.Module):
    """Flattened observations (n, size) to features (n, feature_size): these are as they are, or
    scaled by their running mean and standard deviation."""

    def __init__(self, observation_size: int, normalise: bool = False) -> None:
        super().__init__()
        self.moments = RunningMoments(observation_size) if normalise else None

    def forward(self, observations: Tensor) -> Tensor:
        """Features, shape (n, size)."""
        if self.moments is None:
            return observations
        scale = (self.moments.variance + 1e-8).rsqrt().float()
        scaled = (observations - self.moments.mean.float()) * scale
        return scaled.clamp_(-CLIP, CLIP)


MAX_STATES = 20_000
"""More than that is no table any more: features would be that long."""


class StatePerceptor(nn.Module):
    """Flattened observations (..., size) that can be counted to the state's number, one-hot
    (..., states)."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self._sizes = _sizes(space)
        states = math.prod(self._sizes)
        if states > MAX_STATES:
            raise InputError(
                f"a table of {states:,} states is too large (at most {MAX_STATES:,}); "
                "PQN and DQN learn a network instead"
            )

    def forward(self, observations: Tensor) -> Tensor:
        """Features, shape (..., states)."""
        features, *others = torch.split(observations, self._sizes, -1)
        for other in others:
            features = (features.unsqueeze(-1) * other.unsqueeze(-2)).flatten(-2)
        return features


def is_countable(space: spaces.Space[Any]) -> bool:
    """Whether a space is made of choices only, so that its elements can be counted."""
    if isinstance(space, spaces.Tuple):
        return all(isinstance(part, spaces.Discrete) for part in space.spaces)
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete)


def _sizes(space: spaces.Space[Any]) -> list[int]:
    if isinstance(space, spaces.Tuple):
        return [size for part in space.spaces for size in _sizes(part)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(n) for n in space.nvec.ravel()]
    assert isinstance(space, spaces.Discrete), space
    return [int(space.n)]
