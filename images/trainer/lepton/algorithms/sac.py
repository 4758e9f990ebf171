"""SAC: soft actor-critic, with a temperature that steers itself.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (arXiv:1812.05905), algorithm 1:
a squashed Gaussian policy, two critics and targets that follow them, and a temperature learned so
that the policy keeps an entropy of minus the number of an action's dimensions. Discount, buffer,
target rate and one gradient step per step are table 1's.

Where this differs from the paper:
- Networks (128 units), minibatches (128) and the learning rate (0.001, as RL Baselines3 Zoo has it
  for Pendulum) suit small tasks on a CPU; table 1 has 256, 256 and 0.0003.
- A few environments step together, then come as many gradient steps as they made steps.
- Policy and temperature take their step together, both critics as well: two exchanges between
  data-parallel workers.
- Of the critics nothing is in the model: they are only learned with.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lepton.agents.actuator import SquashedGaussianActuator
from lepton.agents.network import AgentNetwork
from lepton.algorithms.critics import Critics
from lepton.algorithms.learner import Workplace
from lepton.algorithms.off_policy import OffPolicyLearner
from lepton.algorithms.optimiser import Optimiser
from lepton.algorithms.replay import Transitions
from lepton.algorithms.rollout import Rollout
from lepton.algorithms.target import Target
from lepton.errors import InputError
from lepton.spec.hyperparameters.sac import SACHyperparameters


class _Actor(nn.Module):
    """What learns from the critics."""

    def __init__(self, network: AgentNetwork, temperature: float) -> None:
        super().__init__()
        self.network = network
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature), device=device))


class SAC(OffPolicyLearner):
    """Learns a policy that is as random as it can afford to be."""

    def __init__(
        self, network: AgentNetwork, hyperparameters: SACHyperparameters, workplace: Workplace
    ) -> None:
        values = hyperparameters
        super().__init__(network, values, workplace)
        self._values = values
        if not isinstance(network.actuator, SquashedGaussianActuator):
            raise InputError("SAC needs an actuator that is a SquashedGaussianActuator")
        self._actuator = network.actuator
        size = self._actuator.noise_size
        self._target_entropy = -float(size)
        if values.target_entropy is not None:
            self._target_entropy = values.target_entropy
        self._actor = _Actor(network, values.initial_temperature)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(workplace.seed)
            self._critics = Critics(
                network.perceptor, network.feature_size, size, values.hidden_sizes,
                values.activation,
            ).to(self._device)  # fmt: skip
        norm = values.max_gradient_norm
        self._actor_optimiser = Optimiser(self._actor, workplace, max_gradient_norm=norm)
        self._critic_optimiser = Optimiser(self._critics, workplace, max_gradient_norm=norm)
        self._target = Target(self._critics, self._critic_optimiser.values)

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Sample the policy; at first, actions spread evenly."""
        if self._steps < self._values.learning_starts:
            return torch.erf(noise / math.sqrt(2))  # a Gaussian's distribution function
        return self._actuator.sample(self._network.policy(observations), noise)

    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Some gradient steps on what was kept."""
        due = self._take_in(rollout)
        size = self._values.batch_size
        records = [self._step(self._replay.sample(size, self._generator)) for _ in range(due)]
        metrics = {"replay_steps": float(len(self._replay))}
        if records:
            self._end_update()
            means = (torch.stack(records).sum(0) / (due * size)).tolist()
            names = ("critic_loss", "policy_loss", "q_mean", "entropy")
            metrics |= dict(zip(names, means, strict=True))
            metrics["temperature"] = self._actor.log_temperature.exp().item()
        return metrics

    def _step(self, batch: Transitions) -> Tensor:
        """One gradient step of the critics, then of the policy and the temperature; sums of
        their losses, values and entropies."""
        values, critics = self._values, self._critics
        samples = len(batch.observations)
        log_temperature = self._actor.log_temperature
        temperature = log_temperature.detach().exp()
        noise = self._actuator.noise(2, samples, generator=self._generator)

        with torch.no_grad():
            target = self._target.network
            parameters = self._network.policy(batch.next_observations)
            actions, log_probability = self._actuator.sample_with_log_probability(
                parameters, noise[0]
            )
            future = target(target.features(batch.next_observations), actions).amin(0)
            future = future - temperature * log_probability
            targets = batch.returns + batch.discounts * future
        features = critics.features(batch.observations)
        predicted = critics(features, batch.actions)
        critic_loss = 0.5 * (predicted - targets).square().sum()
        computed = {
            "the policy's output": parameters,
            "targets": targets,
            "the critics' output": predicted,
        }
        self._critic_optimiser.step(critic_loss, samples, values.learning_rate, computed)

        parameters = self._network.policy(batch.observations)
        actions, log_probability = self._actuator.sample_with_log_probability(parameters, noise[1])
        with torch.no_grad():
            features = critics.features(batch.observations)
        worth = critics(features, actions, frozen=True).amin(0)
        policy_loss = (temperature * log_probability - worth).sum()
        surplus = (log_probability.detach() + self._target_entropy).sum()
        temperature_loss = -log_temperature * surplus
        computed = {"the policy's output": parameters, "the critics' output": worth}
        self._actor_optimiser.step(
            policy_loss + temperature_loss, samples, values.learning_rate, computed
        )
        self._target.follow(values.target_rate)
        with torch.no_grad():
            return torch.stack([critic_loss, policy_loss, worth.sum(), -log_probability.sum()])

    def _end_update(self) -> None:
        self._critic_optimiser.end_update()
        self._actor_optimiser.end_update()
        if not self._critic_optimiser.shares_gradients:
            self._group.sum(self._target.values).div_(self._group.size)

    def state(self) -> dict[str, Any]:
        """Besides the count, critics, their targets, the temperature, and the Adams'."""
        return super().state() | {
            "critics": self._critic_optimiser.values,
            "target": self._target.values,
            "log_temperature": self._actor.log_temperature.detach(),
            "actor_optimiser": self._actor_optimiser.state(),
            "critic_optimiser": self._critic_optimiser.state(),
        }

    def worker_state(self) -> dict[str, Any]:
        """Besides the generator, Adams of its own."""
        return super().worker_state() | {
            "actor_optimiser": self._actor_optimiser.worker_state(),
            "critic_optimiser": self._critic_optimiser.worker_state(),
        }

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue as if nothing had happened."""
        super().restore(state, worker_state, bulk_state)
        own = worker_state or {}
        self._critic_optimiser.values.copy_(state["critics"])
        self._target.values.copy_(state["target"])
        with torch.no_grad():
            self._actor.log_temperature.copy_(state["log_temperature"])
        self._actor_optimiser.restore(state["actor_optimiser"], own.get("actor_optimiser"))
        self._critic_optimiser.restore(state["critic_optimiser"], own.get("critic_optimiser"))
