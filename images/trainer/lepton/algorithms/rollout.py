"""What learners learn from: steps that were made in a batch of environments."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments. All tensors are on the agent's device."""

    observations: Tensor
    """(T + 1, N, size): before each step, and after the last."""
    actions: Tensor
    """(T, N, ...), as the learner chose them."""
    rewards: Tensor
    """(T, N)."""
    terminated: Tensor
    """(T, N): the episode reached an end; the future is worth nothing."""
    done: Tensor
    """(T, N): terminated or truncated; the next observation begins another episode."""
    valid: Tensor
    """(T, N): False for steps that only reset the environment (NEXT_STEP), whose action and
    reward mean nothing."""
    final_index: tuple[Tensor, Tensor]
    """(step, environment) of the steps whose next observation is in final_observations instead,
    in the order of steps."""
    final_observations: Tensor
    """(k, size): what truncated episodes ended with, where the environment replaced it by the
    first observation of the next episode (SAME_STEP)."""

    def next_observations(self) -> Tensor:
        """(T, N, size): what each step really led to, within its own episode.

        After a terminated step it is whatever comes next, since its value does not count.
        """
        following = self.observations[1:]
        if not len(self.final_observations):
            return following
        following = following.clone()
        following[self.final_index] = self.final_observations
        return following
