"""Critics: two estimates of what an action is worth, of which the smaller is believed.

Fujimoto et al., "Addressing Function Approximation Error in Actor-Critic Methods"
(arXiv:1802.09477), section 4.2.
"""

import copy
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lepton.agents.decision_maker import ACTIVATIONS
from lepton.spec.hyperparameters.base import Activation

CRITICS = 2


class Critics(nn.Module):
    """Two networks from features and an action to its value; each layer of both is one call.

    They have a copy of the perceptor of their own, so that it learns to tell values apart; its
    buffers, such as running statistics, are shared. Weights are orthogonal with gain √2, and 1 in
    the last layer.
    """

    def __init__(
        self,
        perceptor: nn.Module,
        feature_size: int,
        action_size: int,
        hidden_sizes: Sequence[int],
        activation: Activation,
    ) -> None:
        super().__init__()
        self.perceptor = copy.deepcopy(perceptor, {id(b): b for b in perceptor.buffers()})
        self.activation = ACTIVATIONS[activation]()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        sizes = [feature_size + action_size, *hidden_sizes, 1]
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            gain = math.sqrt(2) if layer < len(hidden_sizes) else 1.0
            weight = torch.empty(CRITICS, outputs, inputs)
            for one in weight:
                nn.init.orthogonal_(one, gain)
            self.weights.append(nn.Parameter(weight.transpose(1, 2).contiguous()))
            self.biases.append(nn.Parameter(torch.zeros(CRITICS, 1, outputs)))

    def features(self, observations: Tensor) -> Tensor:
        """What the critics see of observations."""
        features: Tensor = self.perceptor(observations)
        return features

    def forward(self, features: Tensor, actions: Tensor, frozen: bool = False) -> Tensor:
        """Values, shape (2, n); frozen: gradients go to the actions alone."""
        values = torch.cat([features, actions], 1).expand(CRITICS, -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                values = self.activation(values)
            if frozen:
                weight, bias = weight.detach(), bias.detach()
            values = torch.baddbmm(bias, values, weight)
        return values[..., 0]
