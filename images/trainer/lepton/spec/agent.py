"""Section `agent`: what learns, and when it is good enough."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from lepton.spec.base import SpecModel


class Algorithm(StrEnum):
    """The learning algorithms that the API knows."""

    PPO = "PPO"
    PQN = "PQN"
    DQN = "DQN"
    SAC = "SAC"
    Q_LEARNING = "QLearning"


class AgentSpec(SpecModel):
    """The agent: its algorithm, what counts as solved, and its hyperparameters."""

    algorithm: Algorithm = Algorithm.PPO
    """Learning algorithm: PPO acts in any space; PQN and DQN choose one of several actions; SAC
    acts in bounded continuous spaces; QLearning learns a table of states and actions."""

    reward_threshold: float | None = None
    """Mean episode reward, over the episodes of an evaluation, from which on the task counts as
    solved. Training stops early when an evaluation reaches it."""

    hyperparameters: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    """Hyperparameters of the algorithm by name; what is absent keeps its default. A wrong name
    or range is refused with the list of right ones."""
