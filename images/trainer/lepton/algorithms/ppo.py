"""PPO: proximal policy optimisation with the clipped objective.

Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv:1707.06347), with generalised
advantage estimation, Schulman et al. (arXiv:1506.02438). What the papers leave open follows Huang
et al., "The 37 Implementation Details of Proximal Policy Optimization" (ICLR blog track 2022) and
Andrychowicz et al., "What Matters In On-Policy Reinforcement Learning?" (arXiv:2006.05990):
orthogonal initialisation (in `DecisionMaker`), Adam with epsilon 1e-5, gradient clipping at norm
0.5, clip range 0.2, lambda 0.95, entropy bonus 0.01, and networks of their own for policy and
value function.

Where this differs from common implementations:
- Advantages are scaled over the data of a whole update instead of each minibatch, so that
  data-parallel workers need one exchange for it and agree exactly.
- Values and log probabilities of a rollout are computed afterwards in one pass, not per step.
- Many environments (32), a short horizon (32) and large minibatches (256) suit batched
  environments, where a step of 32 costs little more than a step of one. Twenty gradient steps an
  update, in five passes: as many in ten passes of twice the size learn no better and cost more;
  four passes cost less and learn some of lepton's scenarios less surely.
- The loss's derivatives by what the networks put out are written out: autograd would take a tenth
  of a small network's gradient step for them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lepton.agents.network import AgentNetwork
from lepton.algorithms.learner import Learner, Workplace
from lepton.algorithms.optimiser import Optimiser
from lepton.algorithms.rollout import Rollout
from lepton.spec.hyperparameters.ppo import PPOHyperparameters


class PPO(Learner):
    """Learns from one rollout at a time."""

    def __init__(
        self, network: AgentNetwork, hyperparameters: PPOHyperparameters, workplace: Workplace
    ) -> None:
        super().__init__(network, workplace)
        self._values = hyperparameters
        self.horizon = hyperparameters.horizon
        self._optimiser = Optimiser(
            network, workplace, max_gradient_norm=hyperparameters.max_gradient_norm
        )
        self._discounted_returns: Tensor | None = None  # (N,), for the scale of rewards

    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Sample the policy."""
        return self._network.actuator.sample(self._network.policy(observations), noise)

    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Several passes over the rollout."""
        values, group = self._values, self._group
        learning_rate = values.learning_rate
        if values.anneal_learning_rate:
            learning_rate *= max(0.0, 1.0 - progress)

        self._refuse_not_finite(rollout)
        self._update_observation_moments(rollout)
        self._update_return_moments(rollout)
        batch, explained_variance = self._batch(rollout)
        samples = len(batch[0])
        records: list[Tensor] = []  # of the last pass
        for epoch in range(values.epochs):
            records = []
            order = torch.randperm(samples, generator=self._generator, device=batch[0].device)
            shuffled = [part[order] for part in batch]
            # Workers may hold different numbers of samples, but always make as many steps.
            minibatches = zip(
                *(part.tensor_split(values.minibatches) for part in shuffled), strict=True
            )
            # What is only to be watched is computed once per update.
            watched = epoch + 1 == values.epochs or values.target_kl is not None
            records += [
                record
                for minibatch in minibatches
                if (record := self._step(minibatch, learning_rate, watched)) is not None
            ]
            if values.target_kl is not None and epoch + 1 < values.epochs:
                kl = group.sum(torch.stack(records).sum(0)[[4, 6]])
                if kl[0] / kl[1] > values.target_kl:
                    break
        self._optimiser.end_update()
        totals = torch.stack(records).sum(0).tolist()
        count = max(1.0, totals[6])
        policy_loss, value_loss, entropy, loss, kl_mean, clipped = (t / count for t in totals[:6])
        return {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "approx_kl": kl_mean,
            "clip_fraction": clipped,
            "explained_variance": explained_variance,
            "learning_rate": learning_rate,
        }

    def _step(
        self, minibatch: Sequence[Tensor], learning_rate: float, watched: bool
    ) -> Tensor | None:
        """One gradient step; if watched, the minibatch's sums of losses and statistics, and its
        size."""
        observations, actions, old_log_probability, advantages, targets = minibatch
        values = self._values
        parameters, predicted = self._network.policy_and_value(observations)
        log_probability, entropy = self._network.actuator.log_probability_and_entropy(
            parameters, actions
        )
        with torch.no_grad():
            log_ratio = log_probability - old_log_probability
            ratio = log_ratio.exp()
            clipped_ratio = ratio.clamp(1 - values.clip_range, 1 + values.clip_range)
            gain, bound = ratio * advantages, clipped_ratio * advantages
            policy_loss = -torch.minimum(gain, bound).sum()
            errors = predicted - targets
            value_loss = 0.5 * errors.square().sum()
            total_entropy = entropy.sum()
            loss = policy_loss + values.value_coefficient * value_loss
            # A probability that has moved beyond the clip range, the way it should, is left there.
            slopes = [torch.where(gain <= bound, -gain, 0.0), values.value_coefficient * errors]
            outputs = [log_probability, predicted]
            if values.entropy_coefficient:
                loss = loss - values.entropy_coefficient * total_entropy
                slopes.append(torch.full_like(entropy, -values.entropy_coefficient))
                outputs.append(entropy)
        loss = _Differentiated.apply(loss, tuple(slopes), *outputs)
        computed = {
            "advantages": advantages,
            "value targets": targets,
            "the policy's output": parameters,
            "the value function's output": predicted,
            "the ratio of probabilities": ratio,
        }
        self._optimiser.step(loss, len(observations), learning_rate, computed)
        if not watched:
            return None
        with torch.no_grad():
            # Schulman's low-variance estimate of KL(old || new): http://joschu.net/blog/kl-approx.html
            kl = (ratio - 1.0 - log_ratio).sum()
            clipped = (ratio != clipped_ratio).sum()
            size = predicted.new_tensor(float(len(observations)))
            return torch.stack([policy_loss, value_loss, total_entropy, loss, kl, clipped, size])

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> tuple[tuple[Tensor, ...], float]:
        """Samples to learn from (observations, actions, log probabilities, advantages, targets),
        without steps that only reset an environment, and the explained variance."""
        horizon, count = rollout.rewards.shape
        observations = rollout.observations[:-1].flatten(0, 1)
        network = self._network
        parameters, values_now = network.policy_and_value(observations)
        actions = rollout.actions.flatten(0, 1)
        log_probability, _ = network.actuator.log_probability_and_entropy(parameters, actions)
        values_now = values_now.view(horizon, count)
        values_next = torch.cat([values_now[1:], network.value(rollout.observations[-1])[None]])
        if len(rollout.final_observations):
            values_next[rollout.final_index] = network.value(rollout.final_observations)

        rewards = self._scale_rewards(rollout)
        advantages = generalised_advantages(
            rewards, values_now, values_next, rollout.terminated, rollout.done,
            self._values.gamma, self._values.gae_lambda,
        )  # fmt: skip
        targets = advantages + values_now
        parts = (observations, actions, log_probability, advantages.flatten(), targets.flatten())
        predicted = values_now.flatten()
        if not bool(rollout.valid.all()):
            kept = rollout.valid.flatten().nonzero().squeeze(-1)
            parts = tuple(part[kept] for part in parts)  # type: ignore[assignment]
            predicted = predicted[kept]
        observations, actions, log_probability, advantages, targets = parts
        explained_variance = _explained_variance(predicted, targets)
        if self._values.normalise_advantages:
            advantages = self._normalise(advantages)
        return (observations, actions, log_probability, advantages, targets), explained_variance

    def _normalise(self, advantages: Tensor) -> Tensor:
        """Mean 0 and standard deviation 1 over the samples of all workers that share gradients."""
        wide = advantages.double()
        sums = torch.stack(
            [wide.sum(), wide.square().sum(), wide.new_tensor(float(len(advantages)))]
        )
        if self._optimiser.shares_gradients:
            self._group.sum(sums)
        total, squares, count = sums
        mean = total / count
        deviation = (squares / count - mean**2).clamp_min(0.0).sqrt()
        scaled: Tensor = ((wide - mean) / (deviation + 1e-8)).to(advantages.dtype)
        return scaled

    @torch.no_grad()
    def _update_return_moments(self, rollout: Rollout) -> None:
        """Running statistics of discounted returns, by which rewards are scaled."""
        if self._network.return_moments is not None:
            self._merge(self._network.return_moments, self._returns_so_far(rollout)[:, None])

    def _returns_so_far(self, rollout: Rollout) -> Tensor:
        """Discounted sum of the rewards of each episode up to each step, valid ones, flattened."""
        running = self._discounted_returns
        if running is None:
            running = torch.zeros_like(rollout.rewards[0], dtype=torch.float64)
        rows = []
        for reward, done in zip(rollout.rewards.double(), rollout.done, strict=True):
            running = running * self._values.gamma + reward
            rows.append(running)
            running = running.masked_fill(done, 0.0)
        self._discounted_returns = running
        return torch.stack(rows)[rollout.valid]

    def _scale_rewards(self, rollout: Rollout) -> Tensor:
        moments = self._network.return_moments
        if moments is None:
            return rollout.rewards
        scaled = rollout.rewards.double() / (moments.variance + 1e-8).sqrt()
        return scaled.clamp_(-10.0, 10.0).float()

    def state(self) -> dict[str, Any]:
        """Adam's."""
        return self._optimiser.state()

    def worker_state(self) -> dict[str, Any]:
        """Besides the generator, returns of episodes under way and an Adam of its own."""
        return super().worker_state() | {
            "discounted_returns": self._discounted_returns,
            "optimiser": self._optimiser.worker_state(),
        }

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue as if nothing had happened."""
        super().restore(state, worker_state, bulk_state)
        self._optimiser.restore(state, (worker_state or {}).get("optimiser"))
        if worker_state is not None:
            returns = worker_state["discounted_returns"]
            # A checkpoint gives everything on the CPU.
            self._discounted_returns = None if returns is None else returns.to(self._device)


class _Differentiated(torch.autograd.Function):
    """A loss of which the derivatives by what it was computed from are known.

    (torch.autograd.backward would take them, too, and imports a computer algebra system first,
    which costs more than a second.)
    """

    @staticmethod
    def forward(context: Any, loss: Tensor, slopes: tuple[Tensor, ...], *_: Tensor) -> Tensor:
        context.save_for_backward(*slopes)
        return loss.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * slope for slope in context.saved_tensors)


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    done: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimates (arXiv:1506.02438, equation 16), all shapes (T, N).

    `next_values` are those of the observations that the steps really led to. Only termination
    makes the future worthless: a truncated episode would have gone on, so its last step is worth
    its reward and the discounted value of where it was cut. Sums never cross the end of an
    episode of either kind.
    """
    errors = rewards + gamma * next_values * ~terminated - values
    decay = gamma * gae_lambda * (~done).to(rewards.dtype)
    advantages = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in range(len(rewards) - 1, -1, -1):
        following = torch.addcmul(errors[t], decay[t], following)
        advantages[t] = following
    return advantages


def _explained_variance(predicted: Tensor, targets: Tensor) -> float:
    if len(targets) < 2:
        return 0.0
    variance = targets.var()
    return float(1.0 - (targets - predicted).var() / variance) if variance > 0 else 0.0
