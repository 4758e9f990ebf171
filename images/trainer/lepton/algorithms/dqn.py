"""DQN: deep Q-learning, and what became of it.

Mnih et al., "Human-level control through deep reinforcement learning" (Nature 518, 2015). Each
improvement is a switch of its own, as Hessel et al., "Rainbow" (arXiv:1710.02298) combine them:
- `double` (on): van Hasselt et al., arXiv:1509.06461;
- `dueling`: Wang et al., arXiv:1511.06581, in `QNetwork`;
- `nStep`: Sutton, 1988, as in Rainbow, without correction for actions that were explored;
- `prioritisedReplay`: Schaul et al., arXiv:1511.05952, exponents 0.6 and 0.4 to 1, in `Replay`;
- `distribution` C51: Bellemare et al., arXiv:1707.06887, algorithm 1, 51 atoms; or
  QuantileRegression: Dabney et al., arXiv:1710.10044, algorithm 1, Huber threshold 1. Steps are
  prioritised by these losses, as in Rainbow.

Defaults are near those that RL Baselines3 Zoo tuned for classic control (learning rate 0.0023,
minibatch 64, a gradient step for every two steps, 10,000 steps or so of falling exploration, a
target network renewed every 256 steps), with Rainbow's returns of 3 steps and a smaller network.

Where this differs from common implementations:
- A few environments (16) make 8 steps together; then come as many gradient steps as are due.
- Errors are squared and gradients clipped by their norm. Mnih et al. clip each error at 1, which
  fits rewards that are clipped as well: with returns of 100, failures that are rare and far off
  are hardly learned from, and values grow too large.
- The target network is renewed by environment steps, at the end of a round of gradient steps.
  Renewed every few gradient steps, learning can diverge.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from lepton.agents.network import AgentNetwork
from lepton.agents.q_network import QNetwork
from lepton.algorithms.learner import Workplace
from lepton.algorithms.off_policy import OffPolicyLearner
from lepton.algorithms.optimiser import Optimiser
from lepton.algorithms.replay import Transitions
from lepton.algorithms.rollout import Rollout
from lepton.algorithms.target import Target
from lepton.errors import InputError
from lepton.spec.hyperparameters.dqn import Distribution, DQNHyperparameters


class DQN(OffPolicyLearner):
    """Learns what actions are worth, and takes the best but for a share of random ones."""

    def __init__(
        self, network: AgentNetwork, hyperparameters: DQNHyperparameters, workplace: Workplace
    ) -> None:
        values = hyperparameters
        super().__init__(
            network,
            values,
            workplace,
            n_step=values.n_step,
            alpha=values.priority_exponent if values.prioritised_replay else None,
        )
        self._values = values
        maker = network.decision_maker
        self._support = maker.support if isinstance(maker, QNetwork) else None
        distribution = values.distribution is not Distribution.NONE
        if (distribution or values.dueling) and not isinstance(maker, QNetwork):
            raise InputError(
                "an own decision maker has its own form and gives expected returns alone: leave "
                "dueling and distribution"
            )
        self._optimiser = Optimiser(network, workplace, max_gradient_norm=values.max_gradient_norm)
        self._target = Target(network, self._optimiser.values)

    @property
    def epsilon(self) -> float:
        """Share of random actions."""
        values = self._values
        left = max(0.0, 1.0 - self._steps / values.exploration_steps)
        return values.final_epsilon + (1.0 - values.final_epsilon) * left

    def noise(self, steps: int, environments: int, generator: torch.Generator) -> Tensor:
        """Two numbers in [0, 1) an action: whether it is random, and which it is then."""
        return torch.rand(steps, environments, 2, generator=generator, device=generator.device)

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """The best action, or a random one."""
        best = self._network.greedy_actions(observations)
        drawn = (noise[:, 1] * self._network.actuator.distribution_size).long()
        return torch.where(noise[:, 0] < self.epsilon, drawn, best)

    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Some gradient steps on what was kept, and now and then a new target network."""
        values, before = self._values, self._steps
        due = self._take_in(rollout)
        beta = values.priority_correction
        beta += (1.0 - beta) * min(1.0, progress)
        records = [
            self._step(self._replay.sample(values.batch_size, self._generator, beta))
            for _ in range(due)
        ]
        metrics = {"epsilon": self.epsilon, "replay_steps": float(len(self._replay))}
        if records:
            self._optimiser.end_update()
            means = (torch.stack(records).sum(0) / (due * values.batch_size)).tolist()
            metrics |= dict(zip(("loss", "td_error", "q_mean"), means, strict=True))
        if self._steps // values.target_interval > before // values.target_interval:
            self._target.follow()
        return metrics

    def _step(self, batch: Transitions) -> Tensor:
        """One gradient step; sums of losses, errors of the expected return, and its estimates."""
        with torch.no_grad():
            following = self._outputs(self._target.network, batch.next_observations)
            chooser = following
            if self._values.double:
                chooser = self._outputs(self._network, batch.next_observations)
            future = _of(self._expected(chooser).argmax(1), following)
        outputs = _of(batch.actions, self._outputs(self._network, batch.observations))
        expected = self._expected(outputs.detach())
        returns, discounts = batch.returns[:, None], batch.discounts[:, None]
        if self._support is not None:
            targets = project(self._support, future.softmax(1), returns, discounts)
            losses = -(targets * outputs.log_softmax(1)).sum(1)
            # Of the cross entropy, the targets' own entropy is no error of the network's.
            surprises = losses.detach() - torch.special.entr(targets).sum(1)
            errors = targets @ self._support - expected
        else:
            targets = returns + discounts * future
            errors = targets.mean(1) - expected
            if outputs.shape[1] > 1:
                losses = quantile_huber_loss(outputs, targets)
                surprises = losses.detach()
            else:
                losses = 0.5 * (outputs - targets).square().sum(1)
                surprises = errors
        loss = (batch.weights * losses).sum()
        computed = {"targets": targets, "the network's output": outputs}
        self._optimiser.step(loss, len(losses), self._values.learning_rate, computed)
        self._replay.prioritise(batch.indices, surprises)
        return torch.stack([loss.detach(), errors.abs().sum(), expected.sum()])

    def _outputs(self, network: AgentNetwork, observations: Tensor) -> Tensor:
        """What the network says of each action, shape (n, actions, atoms)."""
        features, maker = network.perceptor(observations), network.decision_maker
        if isinstance(maker, QNetwork):
            return maker.outputs(features)
        returns: Tensor = maker.policy(features)  # type: ignore[operator]
        return returns[..., None]

    def _expected(self, outputs: Tensor) -> Tensor:
        maker = self._network.decision_maker
        return maker.expected(outputs) if isinstance(maker, QNetwork) else outputs[..., 0]

    def state(self) -> dict[str, Any]:
        """Besides the count, Adam's and the target network."""
        return super().state() | {
            "optimiser": self._optimiser.state(),
            "target": self._target.values,
        }

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
        self._target.values.copy_(state["target"])


def _of(actions: Tensor, outputs: Tensor) -> Tensor:
    """The numbers of one action each, shape (n, atoms), of (n, actions, atoms)."""
    places = actions[:, None, None].expand(-1, 1, outputs.shape[2])
    return outputs.gather(1, places)[:, 0]


def project(support: Tensor, probabilities: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
    """Probabilities (n, atoms) of `returns + discounts * support` (both (n, 1)), each split
    between the two values of the support that lie next to it (arXiv:1707.06887, algorithm 1)."""
    last = len(support) - 1
    moved = returns + discounts * support
    place = ((moved - support[0]) * (last / (support[-1] - support[0]))).clamp(0, last)
    lower = place.long()
    to_upper = probabilities * (place - lower)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(1, lower, probabilities - to_upper)
    return projected.scatter_add_(1, (lower + 1).clamp_max(last), to_upper)


def quantile_huber_loss(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Quantile regression of (n, k) quantiles towards (n, m) samples (arXiv:1710.10044, equation
    10), shape (n,): summed over quantiles, the mean over samples."""
    middles = (torch.arange(quantiles.shape[1], device=quantiles.device) + 0.5) / quantiles.shape[1]
    shape = (*quantiles.shape, targets.shape[1])
    quantiles, targets = quantiles[:, :, None].expand(shape), targets[:, None, :].expand(shape)
    losses = huber_loss(quantiles, targets, reduction="none")
    below = (targets < quantiles).float()
    return ((middles[:, None] - below).abs() * losses).mean(2).sum(1)
