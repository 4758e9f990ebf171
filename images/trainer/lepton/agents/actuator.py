"""Actuator: from the parameters of a distribution to an action within the space.

The distributions are written out, since torch.distributions costs more time per step than the
networks do. Randomness comes in as a tensor of noise, drawn for a whole rollout at once.
"""

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from lepton.errors import InputError

LOG_DEVIATION_RANGE = (-20.0, 2.0)
"""Of squashed Gaussians, as in the code of SAC's authors."""


class Actuator(nn.Module):
    """Interface of actuators. n is the batch's size."""

    distribution_size: int
    """How many numbers describe the distribution of one action."""
    noise_size: int
    """How many random numbers one sample takes."""

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Noise for `sample`, shape (*shape, noise_size)."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        """Actions as the algorithm remembers them, first axis n."""
        raise NotImplementedError

    def mode(self, parameters: Tensor) -> Tensor:
        """The likeliest actions."""
        raise NotImplementedError

    def log_probability_and_entropy(
        self, parameters: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log probability (density) of actions and the distribution's entropy, both (n,)."""
        raise NotImplementedError

    def to_environment(self, actions: Tensor) -> NDArray[Any]:
        """Actions in the environment's space, as a batch."""
        raise NotImplementedError


def _gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    noise = torch.empty(shape, device=generator.device).exponential_(generator=generator)
    return noise.clamp_min_(torch.finfo(torch.float32).tiny).log_().neg_()


class CategoricalActuator(Actuator):
    """One of n actions; sampled by the Gumbel-max trick, one addition and one argmax."""

    def __init__(self, space: spaces.Discrete) -> None:
        super().__init__()
        self.distribution_size = self.noise_size = int(space.n)
        self._start = int(space.start)

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        return _gumbel((*shape, self.noise_size), generator)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return (parameters + noise).argmax(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters.argmax(-1)

    def log_probability_and_entropy(
        self, parameters: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        log_probabilities = parameters.log_softmax(-1)
        chosen = log_probabilities.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return chosen, -(log_probabilities.exp() * log_probabilities).sum(-1)

    def to_environment(self, actions: Tensor) -> NDArray[Any]:
        array: NDArray[Any] = actions.detach().cpu().numpy()
        return array + self._start if self._start else array


class MultiCategoricalActuator(Actuator):
    """Several independent choices at once; MultiBinary is the case of two options each."""

    def __init__(self, space: spaces.MultiDiscrete | spaces.MultiBinary) -> None:
        super().__init__()
        if isinstance(space, spaces.MultiBinary):
            self._sizes = [2] * int(np.prod(space.shape))
            self._start = np.zeros(space.shape, np.int64)
        else:
            self._sizes = [int(n) for n in space.nvec.ravel()]
            self._start = np.asarray(space.start)
        self._shape, self._dtype = space.shape, space.dtype
        self.distribution_size = self.noise_size = sum(self._sizes)

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        return _gumbel((*shape, self.noise_size), generator)

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return self.mode(parameters + noise)

    def mode(self, parameters: Tensor) -> Tensor:
        return torch.stack(
            [part.argmax(-1) for part in torch.split(parameters, self._sizes, -1)], -1
        )

    def log_probability_and_entropy(
        self, parameters: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        logs = [part.log_softmax(-1) for part in torch.split(parameters, self._sizes, -1)]
        chosen = [
            log.gather(-1, column.unsqueeze(-1)).squeeze(-1)
            for log, column in zip(logs, actions.unbind(-1), strict=True)
        ]
        entropy = [-(log.exp() * log).sum(-1) for log in logs]
        return torch.stack(chosen).sum(0), torch.stack(entropy).sum(0)

    def to_environment(self, actions: Tensor) -> NDArray[Any]:
        array = actions.detach().cpu().numpy().reshape(len(actions), *self._shape) + self._start
        return array.astype(self._dtype)


class BoxActuator(Actuator):
    """Numbers within a Box: -1 and 1 are the ends of a bounded range; what falls outside is cut
    off at them when it goes to the environment. Unbounded ranges are not scaled.
    """

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        if not np.issubdtype(space.dtype, np.floating):
            raise InputError(
                f"actions of space Box with dtype {space.dtype} are not supported; use a Box of "
                "floats, or MultiDiscrete"
            )
        self.noise_size = int(np.prod(space.shape))
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        bounded = np.isfinite(low) & np.isfinite(high)
        with np.errstate(invalid="ignore", over="ignore"):
            self._middle = np.where(bounded, (low + high) / 2, 0.0)
            self._half = np.where(bounded, (high - low) / 2, 1.0)
        self._space = space

    def noise(self, *shape: int, generator: torch.Generator) -> Tensor:
        return torch.randn(*shape, self.noise_size, generator=generator, device=generator.device)

    def to_environment(self, actions: Tensor) -> NDArray[Any]:
        space = self._space
        numbers = actions.detach().cpu().numpy().reshape(len(actions), *space.shape)
        scaled = numbers * self._half + self._middle
        clipped: NDArray[Any] = np.clip(scaled, space.low, space.high).astype(space.dtype)
        return clipped


class GaussianActuator(BoxActuator):
    """A Gaussian whose mean the decision maker gives and whose standard deviation is learned on
    its own."""

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space)
        self.distribution_size = self.noise_size
        self.log_deviation = nn.Parameter(torch.zeros(self.distribution_size))

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        return parameters + noise * self.log_deviation.exp()

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def log_probability_and_entropy(
        self, parameters: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        scaled = (actions - parameters) * (-self.log_deviation).exp()
        normaliser = self.log_deviation + 0.5 * math.log(2 * math.pi)
        log_probability = -(0.5 * scaled**2 + normaliser).sum(-1)
        entropy = (normaliser + 0.5).sum(-1)
        return log_probability, entropy.expand(len(actions))


class SquashedGaussianActuator(BoxActuator):
    """The hyperbolic tangent of a Gaussian, of which the decision maker gives mean and log
    standard deviation: never outside of a bounded Box (arXiv:1812.05905, appendix C).

    Its entropy has no closed form, and the density of an action is known exactly only while the
    noise is that it was made of: `sample_with_log_probability` gives both at once.
    """

    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space)
        if not space.is_bounded():
            raise InputError(
                f"actions of space {space} have no bounds to be squashed into; bound them, or use "
                "PPO"
            )
        self.distribution_size = 2 * self.noise_size

    def sample(self, parameters: Tensor, noise: Tensor) -> Tensor:
        mean, log_deviation = self._split(parameters)
        return (mean + noise * log_deviation.exp()).tanh()

    def sample_with_log_probability(
        self, parameters: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Actions (n, size) and the logarithms of their densities (n,), with gradients."""
        mean, log_deviation = self._split(parameters)
        before = mean + noise * log_deviation.exp()
        gaussian = -0.5 * noise.square() - log_deviation - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(x)²), also where the tangent is 1 in float32.
        stretch = 2 * (math.log(2) - before - softplus(-2 * before))
        return before.tanh(), (gaussian - stretch).sum(-1)

    def mode(self, parameters: Tensor) -> Tensor:
        return self._split(parameters)[0].tanh()

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_deviation = parameters.chunk(2, -1)
        return mean, log_deviation.clamp(*LOG_DEVIATION_RANGE)
