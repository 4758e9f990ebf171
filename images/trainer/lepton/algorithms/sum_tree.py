"""Sum tree: draws an index with a probability proportional to its weight, many at once."""

import torch
from torch import Tensor

FAN_OUT = 64
"""Children of a node. A wide tree is shallow: 3 levels for 262,144 leaves, a few calls each."""


class SumTree:
    """Weights of `size` leaves in float64; nodes above hold the sums of their children.

    A node is always summed anew from its children, in their order, so that the tree depends on
    its leaves alone and not on the updates that led to them.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self._levels: list[Tensor] = []  # from the leaves up; each a whole number of families
        while True:
            families = -(-size // FAN_OUT)
            self._levels.append(torch.zeros(families * FAN_OUT, dtype=torch.float64, device=device))
            if families == 1:
                break
            size = families

    @property
    def leaves(self) -> Tensor:
        """The weights, and zeros behind them; to be changed by `put` alone."""
        return self._levels[0]

    def total(self) -> Tensor:
        """Sum of all weights, shape ()."""
        return self._levels[-1].cumsum(0)[-1]

    def put(self, indices: Tensor, weights: Tensor) -> None:
        """Set weights (n,), not negative, at indices (n,). Of an index that occurs twice, one of
        its weights stays."""
        self._levels[0][indices] = weights
        for below, above in zip(self._levels, self._levels[1:], strict=False):
            indices = indices // FAN_OUT
            above[indices] = below.view(-1, FAN_OUT)[indices].cumsum(1)[:, -1]

    def find(self, points: Tensor) -> Tensor:
        """Indices of the leaves in whose stretch the points (n,) lie, when all weights are laid
        end to end. Points are in [0, total); leaves of weight 0 are never found."""
        family = torch.zeros_like(points, dtype=torch.int64)
        for level in reversed(self._levels):
            ends = level.view(-1, FAN_OUT)[family].cumsum(1)
            child = (ends <= points[:, None]).sum(1)
            end = ends.gather(1, child[:, None])[:, 0]
            index = family * FAN_OUT + child
            weight = level[index]
            # Rounded, a difference may not be less than the weight; the next level relies on it.
            points = torch.minimum(points - (end - weight), weight * (1 - 1e-12)).clamp_min_(0.0)
            family = index
        return family
