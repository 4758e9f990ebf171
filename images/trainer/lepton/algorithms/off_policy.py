"""What DQN and SAC share: a replay buffer, and how much is to be learned from it when."""

from typing import Any

from torch import Tensor

from lepton.agents.network import AgentNetwork
from lepton.algorithms.learner import Learner, Workplace
from lepton.algorithms.replay import Replay
from lepton.algorithms.rollout import Rollout
from lepton.spec.hyperparameters.off_policy import OffPolicyHyperparameters


class OffPolicyLearner(Learner):
    """Keeps what happened, and counts environment steps of this process: all workers make as
    many, so they agree on everything that depends on the count without asking each other."""

    def __init__(
        self,
        network: AgentNetwork,
        hyperparameters: OffPolicyHyperparameters,
        workplace: Workplace,
        *,
        n_step: int = 1,
        alpha: float | None = None,
    ) -> None:
        super().__init__(network, workplace)
        self.horizon = hyperparameters.horizon
        self._learning_starts = hyperparameters.learning_starts
        self._replay_ratio = hyperparameters.replay_ratio
        self._replay = Replay(
            hyperparameters.replay_capacity,
            gamma=hyperparameters.gamma,
            n_step=n_step,
            alpha=alpha,
        )
        self._steps = 0

    def _take_in(self, rollout: Rollout) -> int:
        """Keep a rollout; how many gradient steps are due."""
        self._refuse_not_finite(rollout)
        self._update_observation_moments(rollout)
        self._replay.add(rollout)
        before = self._steps
        self._steps += rollout.rewards.numel()
        if self._steps < self._learning_starts:
            return 0
        return int(self._steps * self._replay_ratio) - int(before * self._replay_ratio)

    def state(self) -> dict[str, Any]:
        """The count of steps."""
        return {"steps": self._steps}

    def bulk_state(self) -> dict[str, Tensor]:
        """The replay buffer."""
        return self._replay.state()

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue; a worker that is new begins with an empty buffer."""
        super().restore(state, worker_state, bulk_state)
        self._steps = state["steps"]
        self._replay.restore(bulk_state or {}, self._device)
