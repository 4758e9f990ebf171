"""Section `agent`: what learns, and when it is good enough."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, field_validator

from lepton.spec.base import RULES, SpecModel, refusal


class Algorithm(StrEnum):
    """The learning algorithms that the API knows."""

    PPO = "PPO"
    PQN = "PQN"
    DQN = "DQN"
    SAC = "SAC"
    Q_LEARNING = "QLearning"


SUPPORTED_ALGORITHMS = (Algorithm.PPO, Algorithm.DQN, Algorithm.SAC)

QUOTED_SELF = "' + self + '"
"""Within a CEL string: the value that the rule stands at."""


def unsupported_algorithm(name: str) -> str:
    """What a user reads who asks for an algorithm that has only its name yet."""
    known = ", ".join(SUPPORTED_ALGORITHMS)
    return f"algorithm {name} is not supported yet; this version has {known}"


class AgentSpec(SpecModel):
    """The agent: its algorithm, what counts as solved, and its hyperparameters."""

    algorithm: Annotated[
        Algorithm,
        Field(
            json_schema_extra={
                RULES: [
                    {
                        "rule": f"self in {[str(a) for a in SUPPORTED_ALGORITHMS]}",
                        "messageExpression": f"'{unsupported_algorithm(QUOTED_SELF)}'",
                        "message": "this algorithm is not supported yet",
                    }
                ]
            }
        ),
    ] = Algorithm.PPO
    """Learning algorithm. This version has PPO, DQN and SAC; the other names are reserved."""

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
            raise refusal(unsupported_algorithm(value))
        return value
