"""The three parts of an agent as one torch module."""

import torch
from torch import Tensor, nn

from lepton.agents.actuator import Actuator
from lepton.agents.perceptor import RunningMoments


class AgentNetwork(nn.Module):
    """Perceptor, decision maker and actuator, and what else an agent learns about its task."""

    def __init__(
        self,
        perceptor: nn.Module,
        decision_maker: nn.Module,
        actuator: Actuator,
        feature_size: int,
        normalise_rewards: bool = False,
    ) -> None:
        super().__init__()
        self.perceptor = perceptor
        self.decision_maker = decision_maker
        self.actuator = actuator
        self.feature_size = feature_size
        """How many features the perceptor makes of an observation."""
        self.return_moments = RunningMoments(1) if normalise_rewards else None

    def policy(self, observations: Tensor) -> Tensor:
        """Parameters of the distribution over actions, for flattened observations (n, size)."""
        parameters: Tensor = self.decision_maker.policy(self.perceptor(observations))  # type: ignore[operator]
        return parameters

    def value(self, observations: Tensor) -> Tensor:
        """Expected discounted return, shape (n,)."""
        values: Tensor = self.decision_maker.value(self.perceptor(observations))  # type: ignore[operator]
        return values

    def policy_and_value(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Both, with features computed once."""
        features = self.perceptor(observations)
        maker = self.decision_maker
        return maker.policy(features), maker.value(features)  # type: ignore[operator]

    @torch.no_grad()
    def greedy_actions(self, observations: Tensor) -> Tensor:
        """The likeliest actions."""
        return self.actuator.mode(self.policy(observations))
