"""Epsilon-greedy exploration: mostly the best action, now and then any."""

import torch
from torch import Tensor


def epsilon_noise(steps: int, environments: int, generator: torch.Generator) -> Tensor:
    """What `epsilon_greedy` decides by, shape (steps, environments, 2)."""
    return torch.rand(steps, environments, 2, generator=generator, device=generator.device)


def epsilon_greedy(values: Tensor, noise: Tensor, epsilon: float) -> Tensor:
    """The best of the values (n, actions), or with probability `epsilon` any action; shape (n,)."""
    anything = (noise[:, 1] * values.shape[-1]).long()
    return torch.where(noise[:, 0] < epsilon, anything, values.argmax(-1))
