"""`spec.failurePolicy`: what happens when an attempt fails."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from lepton.spec.base import SpecModel, refusal, rule, rules, text_like
from lepton_operator.api.names import FailureClass


class FailureAction(StrEnum):
    """What a rule says is to be done about a failed attempt."""

    FAIL = "Fail"
    RESTART = "Restart"
    RESTART_FREE = "RestartFree"


CODES_OR_CLASS = "set exitCodes, class or both"


class FailureRule(SpecModel):
    """What is to be done about failures of one kind."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("has(self.exitCodes) || has(self.class)", CODES_OR_CLASS))
    )

    exit_codes: (
        Annotated[list[Annotated[int, Field(ge=1, le=255)]], Field(min_length=1, max_length=64)]
        | None
    ) = None
    """Exit codes that the rule is for, as status.attempts shows them (128 + n for signal n).
    Without class they stand for failures of the program only: what the infrastructure ends may
    have the same codes."""
    failure_class: Annotated[
        Literal[
            FailureClass.INFRASTRUCTURE,
            FailureClass.APPLICATION,
            FailureClass.OUT_OF_MEMORY,
            FailureClass.STALLED,
        ]
        | None,
        Field(alias="class"),
    ] = None
    """Class that the rule is for. Invalid can't be chosen: another attempt can't help."""
    action: FailureAction
    """Fail: the job fails at once. Restart: a restart that counts towards maxRestarts.
    RestartFree: one that does not, within the operator's limit for interruptions."""

    @model_validator(mode="after")
    def _codes_or_class(self) -> "FailureRule":
        if self.exit_codes is None and self.failure_class is None:
            raise refusal(CODES_OR_CLASS)
        return self


class FailurePolicy(SpecModel):
    """What happens when an attempt fails."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts after failures of the program. Interruptions by the infrastructure don't count."""
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 10
    """Seconds before the first restart; doubled for each further one, up to 10 minutes, and up to
    a quarter longer, so that jobs that failed together don't start together."""
    rules: Annotated[list[FailureRule], Field(max_length=32)] = Field(default_factory=list)
    """What to do about particular failures; the first rule that fits decides."""
    grow_memory_by: (
        Annotated[
            str,
            StringConstraints(max_length=16),
            *text_like(
                r"[1-9][0-9]{0,3}%|[1-9][0-9]{0,8}(Ki|Mi|Gi|Ti|k|M|G|T)",
                "growMemoryBy is a percentage or an amount of memory, such as 50% or 2Gi",
            ),
        ]
        | None
    ) = None
    """By how much resources.limits.memory grows for the attempt that follows one that ran out of
    memory, such as 50% or 2Gi; resources.requests.memory grows in proportion. It stops at what
    LimitRanges and ResourceQuotas of the namespace allow. Default: no growth."""
    avoid_failed_nodes: bool = True
    """Keep away from a node on which two attempts were ended by the infrastructure, but from half
    of the nodes at most that would take a worker (by labels, taints and size), and only while the
    others have room for all workers. status.placement.avoided names them."""
