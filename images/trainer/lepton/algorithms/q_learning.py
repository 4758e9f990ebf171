"""QLearning: a table of action values, for states that can be counted.

Watkins and Dayan, "Q-learning" (Machine Learning 8, 1992). The step towards a target falls with
the visits of a state and action as 1/n^0.7, a polynomial rate: of those between 1/2 and 1 a
small one forgets wrong beginnings faster and a large one averages longer (Even-Dar and Mansour,
"Learning Rates for Q-learning", JMLR 5, 2003).

A batch of environments visits states together: targets for the same state and action are averaged,
and the step is that of as many single steps. Rewards are taken in the environment's own units, so
that the table can be held against what is computed by hand.
"""

from typing import Any

import torch
from torch import Tensor

from lepton.agents.action_values import ActionTable
from lepton.agents.network import AgentNetwork
from lepton.algorithms.exploration import epsilon_greedy, epsilon_noise
from lepton.algorithms.flat import all_finite
from lepton.algorithms.learner import Learner, Workplace, diverged
from lepton.algorithms.rollout import Rollout
from lepton.errors import InputError
from lepton.spec.hyperparameters.q_learning import QLearningHyperparameters
from lepton.spec.trainer import Synchronisation


class QLearning(Learner):
    """Learns from each step once, in their order."""

    scales_rewards = False

    def __init__(
        self, network: AgentNetwork, hyperparameters: QLearningHyperparameters, workplace: Workplace
    ) -> None:
        super().__init__(network, workplace)
        if not isinstance(network.decision_maker, ActionTable):
            raise InputError("QLearning learns a table: leave decision_maker")
        self._values = hyperparameters
        self.horizon = hyperparameters.horizon
        self._epsilon = hyperparameters.exploration(0.0)
        self._table = network.decision_maker.values
        self._group.share(self._table)
        self._visits = torch.zeros_like(self._table)
        # Summing what all workers saw at each step is as exact as one process with all of it.
        self._shares_steps = workplace.synchronisation is Synchronisation.GRADIENTS

    def noise(self, steps: int, environments: int, generator: torch.Generator) -> Tensor:
        """For epsilon-greedy actions."""
        return epsilon_noise(steps, environments, generator)

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """The best action, or any."""
        return epsilon_greedy(self._network.policy(observations), noise, self._epsilon)

    @torch.no_grad()
    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """One step of the table for each step of the environments."""
        self._refuse_not_finite(rollout)
        perceptor = self._network.perceptor
        states = perceptor(rollout.observations[:-1]).argmax(-1)
        next_states = perceptor(rollout.next_observations()).argmax(-1)
        errors = [self._step(rollout, t, states[t], next_states[t]) for t in range(self.horizon)]
        if not self._shares_steps:
            self._group.sum(self._table).div_(self._group.size)
        if not all_finite(self._table):
            raise diverged("the table of action values", {})
        self._epsilon = self._values.exploration(progress)
        return {
            "td_error": float(torch.stack(errors).mean()),
            "action_value_mean": float(self._table.mean()),
            "states_visited": float((self._visits.sum(-1) > 0).float().mean()),
            "exploration": self._epsilon,
        }

    def _step(self, rollout: Rollout, t: int, states: Tensor, next_states: Tensor) -> Tensor:
        """Move the table towards the targets of step t; the mean absolute error."""
        table, values = self._table, self._values
        going_on = ~rollout.terminated[t]
        targets = rollout.rewards[t] + values.gamma * going_on * table[next_states].amax(-1)
        where = states * table.shape[1] + rollout.actions[t]
        errors = targets - table.view(-1)[where]
        valid = rollout.valid[t].to(errors.dtype)
        sums = table.new_zeros(2, table.numel())
        sums[0].index_add_(0, where, errors * valid)
        sums[1].index_add_(0, where, valid)
        if self._shares_steps:
            self._group.sum(sums)
        total, count = sums.view(2, *table.shape)
        self._visits += count
        rate = values.learning_rate / self._visits.clamp_min(1.0) ** values.learning_rate_decay
        table.add_(total / count.clamp_min(1.0) * (1.0 - (1.0 - rate) ** count))
        return (errors.abs() * valid).sum() / valid.sum().clamp_min(1.0)

    def state(self) -> dict[str, Any]:
        """Visits, which the steps depend on, and how much is explored."""
        return {"visits": self._visits, "epsilon": self._epsilon}

    def worker_state(self) -> dict[str, Any]:
        """Without shared steps each worker counts its own visits."""
        visits = None if self._shares_steps else self._visits.clone()
        return super().worker_state() | {"visits": visits}

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue as if nothing had happened."""
        super().restore(state, worker_state, bulk_state)
        own = (worker_state or {}).get("visits")
        self._visits.copy_(state["visits"] if own is None else own)
        self._epsilon = state["epsilon"]
