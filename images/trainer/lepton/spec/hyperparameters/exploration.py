"""Hyperparameters of epsilon-greedy exploration, for algorithms that learn action values."""

from typing import Annotated

from pydantic import Field

from lepton.spec.base import SpecModel


class EpsilonGreedyHyperparameters(SpecModel):
    """How often an action is drawn at random instead of taken for the best."""

    initial_epsilon: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of random actions at the beginning."""
    final_epsilon: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of random actions after exploration_fraction of the run."""
    exploration_fraction: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Part of the run over which the share falls, linearly."""

    def exploration(self, progress: float) -> float:
        """Share of random actions when this share of the run is done."""
        fallen = (
            min(1.0, progress / self.exploration_fraction) if self.exploration_fraction else 1.0
        )
        return self.initial_epsilon + fallen * (self.final_epsilon - self.initial_epsilon)
