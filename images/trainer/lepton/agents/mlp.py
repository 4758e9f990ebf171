"""The plain networks that decision makers are made of."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from lepton.spec.hyperparameters.base import Activation

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.TANH: nn.Tanh,
    Activation.RELU: nn.ReLU,
}


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    activation: Activation,
    *,
    last_gain: float = 1.0,
    layer_norm: bool = False,
) -> nn.Sequential:
    """Linear layers with orthogonal weights of gain √2, the last of gain `last_gain`, biases 0.

    With `layer_norm` each hidden layer is normalised before its activation (arXiv:1607.06450).
    """
    layers: list[nn.Module] = []
    sizes = [inputs, *hidden]
    for before, after in itertools.pairwise(sizes):
        layers.append(_linear(before, after, math.sqrt(2)))
        if layer_norm:
            layers.append(nn.LayerNorm(after))
        layers.append(_ACTIVATIONS[activation]())
    layers.append(_linear(sizes[-1], outputs, last_gain))
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    with torch.no_grad():
        layer.bias.zero_()
    return layer
