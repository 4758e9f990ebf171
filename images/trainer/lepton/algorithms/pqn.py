"""PQN: parallelised Q-learning, without replay and without a target network.

Gallici et al., "Simplifying Deep Temporal Difference Learning" (arXiv:2407.04811). Layer
normalisation is what keeps the temporal differences of a network from diverging, many environments
stand in for the replay buffer, and targets are Peng's Q(lambda), computed once per rollout with
the network as it then is (algorithm 1 of the paper).

Defaults: lambda 0.65, 4 epochs, gradient norm 10, two layers of 128 units and the annealed
learning rate are the paper's (appendix C and its code for classic control); horizon, minibatches
and learning rate are those of lepton's PPO, whose rollouts have the same shape; exploration ends
at 0.05 after a tenth of the run, as in Mnih et al. (2015).
"""

from typing import Any

import torch
from torch import Tensor

from lepton.agents.network import AgentNetwork
from lepton.algorithms.exploration import epsilon_greedy, epsilon_noise
from lepton.algorithms.learner import Learner, Workplace
from lepton.algorithms.optimiser import Optimiser
from lepton.algorithms.rollout import Rollout
from lepton.spec.hyperparameters.pqn import PQNHyperparameters


class PQN(Learner):
    """Learns from one rollout at a time."""

    def __init__(
        self, network: AgentNetwork, hyperparameters: PQNHyperparameters, workplace: Workplace
    ) -> None:
        super().__init__(network, workplace)
        self._values = hyperparameters
        self.horizon = hyperparameters.horizon
        self._epsilon = hyperparameters.exploration(0.0)
        self._optimiser = Optimiser(
            network, workplace, max_gradient_norm=hyperparameters.max_gradient_norm
        )

    def noise(self, steps: int, environments: int, generator: torch.Generator) -> Tensor:
        """For epsilon-greedy actions."""
        return epsilon_noise(steps, environments, generator)

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """The best action, or any."""
        return epsilon_greedy(self._network.policy(observations), noise, self._epsilon)

    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Several passes over the rollout."""
        values = self._values
        learning_rate = values.learning_rate
        if values.anneal_learning_rate:
            learning_rate *= max(0.0, 1.0 - progress)
        self._refuse_not_finite(rollout)
        self._update_observation_moments(rollout)
        kept = rollout.valid.flatten().nonzero().squeeze(-1)
        batch = [
            part.flatten(0, 1)[kept]
            for part in (rollout.observations[:-1], rollout.actions, self._targets(rollout))
        ]
        losses, means = [], []
        for _ in range(values.epochs):
            order = torch.randperm(len(kept), generator=self._generator, device=kept.device)
            # Workers may hold different numbers of samples, but always make as many steps.
            for part in order.tensor_split(values.minibatches):
                observations, actions, targets = (tensor[part] for tensor in batch)
                all_values = self._network.policy(observations)
                chosen = all_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
                loss = 0.5 * (chosen - targets).square().sum()
                computed = {"targets": targets, "the action values": all_values}
                self._optimiser.step(loss, len(part), learning_rate, computed)
                losses.append(loss.detach() / max(1, len(part)))
                means.append(chosen.detach().mean())
        self._optimiser.end_update()
        self._epsilon = values.exploration(progress)
        return {
            "loss": float(torch.stack(losses).mean()),
            "action_value_mean": float(torch.stack(means).mean()),
            "exploration": self._epsilon,
            "learning_rate": learning_rate,
        }

    @torch.no_grad()
    def _targets(self, rollout: Rollout) -> Tensor:
        best = self._network.policy(rollout.next_observations()).amax(-1)
        values = self._values
        return lambda_returns(
            rollout.rewards, best, rollout.terminated, rollout.done, values.gamma, values.td_lambda
        )

    def state(self) -> dict[str, Any]:
        """Adam's, and how much is explored."""
        return {"optimiser": self._optimiser.state(), "epsilon": self._epsilon}

    def worker_state(self) -> dict[str, Any]:
        """Besides the generator, an Adam of its own."""
        return super().worker_state() | {"optimiser": self._optimiser.worker_state()}

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue as if nothing had happened."""
        super().restore(state, worker_state, bulk_state)
        self._optimiser.restore(state["optimiser"], (worker_state or {}).get("optimiser"))
        self._epsilon = state["epsilon"]


def lambda_returns(
    rewards: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    done: Tensor,
    gamma: float,
    td_lambda: float,
) -> Tensor:
    """Peng's Q(lambda) returns (Peng and Williams 1996), all shapes (T, N).

    `next_values` are those of the best action where each step really led to. A truncated episode
    would have gone on, so its last step is worth its reward and the discounted value of where it
    was cut; a terminated one's is worth its reward.
    """
    one_step = rewards + gamma * next_values * ~terminated
    weight = gamma * td_lambda * (~done).to(rewards.dtype)
    returns = torch.empty_like(rewards)
    following = next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        following = torch.addcmul(one_step[t], weight[t], following - next_values[t])
        returns[t] = following
    return returns
