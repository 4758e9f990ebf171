"""Decision makers that say what each action is worth; the best one is the policy."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lepton.agents.mlp import mlp
from lepton.spec.hyperparameters.base import Activation


class ActionValues(nn.Module):
    """A network with one output for each action."""

    parameters_name = "action_values"

    def __init__(
        self,
        feature_size: int,
        actions: int,
        hidden_sizes: Sequence[int] = (128, 128),
        activation: Activation = Activation.RELU,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.network = mlp(feature_size, hidden_sizes, actions, activation, layer_norm=layer_norm)

    def policy(self, features: Tensor) -> Tensor:
        """Values of the actions, shape (n, actions)."""
        values: Tensor = self.network(features)
        return values


class ActionTable(nn.Module):
    """A row of values for each state; features say which, one-hot."""

    parameters_name = "action_values"

    def __init__(self, states: int, actions: int, initial_value: float = 0.0) -> None:
        super().__init__()
        self.values = nn.Parameter(
            torch.full((states, actions), initial_value), requires_grad=False
        )

    def policy(self, features: Tensor) -> Tensor:
        """Values of the actions, shape (n, actions)."""
        return features @ self.values
