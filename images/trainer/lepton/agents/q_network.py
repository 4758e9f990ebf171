"""Q network: from features to what each action is worth, as a number or as a distribution."""

from collections.abc import Sequence

from torch import Tensor, nn

from lepton.agents.decision_maker import hidden_layers, mlp
from lepton.spec.hyperparameters.base import Activation

LAST_GAIN = 0.01
"""Of the last layer's weights: all returns are near 0 at first."""


class QNetwork(nn.Module):
    """A decision maker for a finite number of actions, whose policy is greedy.

    For each action it gives `atoms` numbers: one is the expected return itself; more are its
    quantiles, or with `support` the logits of the probabilities that it is each of these values.

    `dueling` gives the last hidden layer a branch for the value of the state and one for the
    advantages of the actions, of which the mean is taken off (Wang et al., arXiv:1511.06581,
    equation 9).
    """

    support: Tensor | None

    def __init__(
        self,
        feature_size: int,
        actions: int,
        hidden_sizes: Sequence[int] = (128, 128),
        activation: Activation = Activation.RELU,
        *,
        dueling: bool = False,
        atoms: int = 1,
        support: Tensor | None = None,
    ) -> None:
        super().__init__()
        self._shape = (actions, atoms)
        # Made from the hyperparameters, so not a part of the model.
        self.register_buffer("support", support, persistent=False)
        self.trunk = nn.Sequential()
        self._dueling = dueling
        if dueling:
            shared, hidden_sizes = hidden_sizes[:-1], hidden_sizes[-1:]
            self.trunk = nn.Sequential(*hidden_layers(feature_size, shared, activation))
            feature_size = shared[-1] if shared else feature_size
            self.value_branch = mlp(feature_size, hidden_sizes, atoms, activation, LAST_GAIN)
        self.action_branch = mlp(feature_size, hidden_sizes, actions * atoms, activation, LAST_GAIN)

    def outputs(self, features: Tensor) -> Tensor:
        """The numbers of each action, shape (n, actions, atoms)."""
        features = self.trunk(features)
        outputs: Tensor = self.action_branch(features).view(-1, *self._shape)
        if self._dueling:
            outputs = outputs - outputs.mean(1, keepdim=True) + self.value_branch(features)[:, None]
        return outputs

    def expected(self, outputs: Tensor) -> Tensor:
        """Expected returns, shape (n, actions), from `outputs`."""
        if self.support is not None:
            return outputs.softmax(-1) @ self.support
        return outputs.mean(-1)

    def policy(self, features: Tensor) -> Tensor:
        """What each action is worth, shape (n, actions): the greedy action is the likeliest of a
        categorical distribution with these logits."""
        return self.expected(self.outputs(features))
