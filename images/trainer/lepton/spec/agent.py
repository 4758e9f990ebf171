"""Section `agent`: what learns, and when it is good enough."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, field_validator

from lepton.spec.base import SpecModel


class Algorithm(StrEnum):
    """The learning algorithms that the API knows."""

    PPO = "PPO"
    PQN = "PQN"
    DQN = "DQN"
    SAC = "SAC"
    Q_LEARNING = "QLearning"


SUPPORTED_ALGORITHMS = (Algorithm.PPO,)


class AgentSpec(SpecModel):
    """The agent: its algorithm, what counts as solved, and its hyperparameters."""

    algorithm: Algorithm = Algorithm.PPO
    """Learning algorithm. This version has PPO; the other names are reserved."""

    reward_threshold: float | None = None
    """Mean episode reward, over the episodes of an evaluation, from which on the task counts as
    solved. Training stops early when an evaluation reaches it."""

    hyperparameters: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    """Hyperparameters of the algorithm by name; what is absent keeps its default. A wrong name
    or range is refused with the list of right ones."""

    @field_validator("algorithm")
    @classmethod
    def _algorithm_is_supported(cls, value: Algorithm) -> Algorithm:
        if value not in SUPPORTED_ALGORITHMS:
            known = ", ".join(SUPPORTED_ALGORITHMS)
            raise ValueError(f"algorithm {value} is not supported yet; this version has {known}")
        return value
