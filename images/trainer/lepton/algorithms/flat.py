"""All parameters of a network, and their gradients, as one flat tensor each.

One tensor is clipped, all-reduced and stepped in one call each, without copying.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lepton.errors import InputError


class FlatParameters:
    """`values` and `gradients` share memory with the network's parameters and their `.grad`.

    `gradients` has one more element at its end, in which a count can travel with them.
    """

    def __init__(self, network: nn.Module) -> None:
        self._named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
        if not self._named:
            raise InputError("the agent's networks have no parameters to learn")
        kinds = {(p.dtype, p.device) for _, p in self._named}
        if len(kinds) > 1:
            raise InputError(
                f"the agent's parameters are of several types or devices: {sorted(map(str, kinds))}"
            )
        self.values = move_together([parameter for _, parameter in self._named])
        size = len(self.values)
        self.gradients_and_count = self.values.new_zeros(size + 1)
        self.gradients = self.gradients_and_count[:size]
        begin = 0
        for _, parameter in self._named:
            end = begin + parameter.numel()
            parameter.grad = self.gradients[begin:end].view_as(parameter)
            begin = end

    def first_not_finite(self) -> str | None:
        """Name of the first parameter or gradient that holds NaN or infinity."""
        for name, parameter in self._named:
            if not bool(torch.isfinite(parameter).all()):
                return f"parameter {name}"
        for name, parameter in self._named:
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                return f"gradient of {name}"
        return None


@torch.no_grad()
def move_together(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters of one type and device into one flat tensor, which is returned."""
    values = torch.cat([parameter.reshape(-1) for parameter in parameters])
    begin = 0
    for parameter in parameters:
        end = begin + parameter.numel()
        parameter.data = values[begin:end].view_as(parameter)
        begin = end
    return values


class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1 in the efficient order of section 2) on
    flat parameters.

    Seven calls whatever the network. torch.optim.Adam takes longer for small ones, and its first
    step imports torch's compiler, which costs seconds.
    """

    def __init__(
        self, flat: FlatParameters, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-5
    ) -> None:
        self._flat = flat
        self._betas, self._epsilon = betas, epsilon
        self._steps = 0
        self._mean = torch.zeros_like(flat.values)
        self._square = torch.zeros_like(flat.values)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step along the gradients."""
        self._steps += 1
        (beta_1, beta_2), gradients = self._betas, self._flat.gradients
        self._mean.lerp_(gradients, 1 - beta_1)
        self._square.mul_(beta_2).addcmul_(gradients, gradients, value=1 - beta_2)
        correction = math.sqrt(1 - beta_2**self._steps)
        step_size = learning_rate * correction / (1 - beta_1**self._steps)
        denominator = self._square.sqrt().add_(self._epsilon * correction)
        self._flat.values.addcdiv_(self._mean, denominator, value=-step_size)

    def state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {"steps": self._steps, "mean": self._mean, "square": self._square}

    def copied_state(self) -> dict[str, Any]:
        """The same, sharing no memory."""
        return {"steps": self._steps, "mean": self._mean.clone(), "square": self._square.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self._steps = state["steps"]
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])


def all_finite(tensor: Tensor) -> bool:
    """Whether the tensor is free of NaN and infinity; overflow of the sum counts as not finite
    only after a second look."""
    return bool(tensor.sum().isfinite()) or bool(torch.isfinite(tensor).all())
