"""Decision maker: from features to the parameters of a distribution over actions, and a value."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lepton.spec.hyperparameters.base import Activation

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    Activation.TANH: nn.Tanh,
    Activation.RELU: nn.ReLU,
}


class DecisionMaker(nn.Module):
    """Two networks side by side, for the policy and for the value function.

    Weights are orthogonal with gain √2, 0.01 for the policy's last layer, so that it begins near
    uniform, and 1 for the value's (Engstrom et al., "Implementation Matters in Deep Policy
    Gradients", 2020; Andrychowicz et al., "What Matters In On-Policy Reinforcement Learning?",
    2020, which also finds separate networks better than a shared one).
    """

    def __init__(
        self,
        feature_size: int,
        distribution_size: int,
        hidden_sizes: Sequence[int] = (64, 64),
        activation: Activation = Activation.TANH,
    ) -> None:
        super().__init__()
        self.policy_network = mlp(
            feature_size, hidden_sizes, distribution_size, activation, last_gain=0.01
        )
        self.value_network = mlp(feature_size, hidden_sizes, 1, activation, last_gain=1.0)

    def policy(self, features: Tensor) -> Tensor:
        """Parameters of the distribution over actions, shape (n, distribution_size)."""
        parameters: Tensor = self.policy_network(features)
        return parameters

    def value(self, features: Tensor) -> Tensor:
        """Expected discounted return, shape (n,)."""
        values: Tensor = self.value_network(features)
        return values.squeeze(-1)


class PolicyNetwork(nn.Module):
    """A network for the policy alone, for algorithms that keep their value functions to
    themselves. Weights are as in `DecisionMaker`."""

    def __init__(
        self,
        feature_size: int,
        distribution_size: int,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: Activation = Activation.RELU,
    ) -> None:
        super().__init__()
        self.policy_network = mlp(
            feature_size, hidden_sizes, distribution_size, activation, last_gain=0.01
        )

    def policy(self, features: Tensor) -> Tensor:
        """Parameters of the distribution over actions, shape (n, distribution_size)."""
        parameters: Tensor = self.policy_network(features)
        return parameters


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, activation: Activation, last_gain: float
) -> nn.Sequential:
    """Hidden layers and a linear one, weights orthogonal with gain √2 and `last_gain`."""
    size = hidden[-1] if hidden else inputs
    return nn.Sequential(
        *hidden_layers(inputs, hidden, activation), _linear(size, outputs, last_gain)
    )


def hidden_layers(inputs: int, hidden: Sequence[int], activation: Activation) -> list[nn.Module]:
    """Layers of these sizes, each with its non-linearity."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([inputs, *hidden]):
        layers += [_linear(before, after, math.sqrt(2)), ACTIVATIONS[activation]()]
    return layers


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    with torch.no_grad():
        layer.bias.zero_()
    return layer
