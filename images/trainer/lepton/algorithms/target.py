"""Target: a copy of a network that follows it, for values that do not move with every step."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from lepton.algorithms.flat import move_together

Network = TypeVar("Network", bound=nn.Module)


class Target(Generic[Network]):
    """A copy whose parameters hold still until it is told to follow. Buffers, such as running
    statistics of observations, are shared, so that both see the same inputs."""

    def __init__(self, source: Network, values: Tensor) -> None:
        """`values` are the source's parameters as one tensor (`Optimiser.values`)."""
        self._source_values = values
        self.network = copy.deepcopy(source, {id(b): b for b in source.buffers()})
        self.values = move_together([p for p in self.network.parameters() if p.requires_grad])
        """The copy's parameters, as one tensor that shares memory with them."""
        self.network.requires_grad_(False)

    @torch.no_grad()
    def follow(self, share: float = 1.0) -> None:
        """Go this share of the way to where the source is."""
        self.values.lerp_(self._source_values, share)
