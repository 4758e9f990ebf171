"""Perceptor: from the flattened observation to features."""

import torch
from torch import Tensor, nn

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
