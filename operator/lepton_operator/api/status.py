"""`status` of a LeptonTrainingJob: what was observed. Written by the operator alone."""

import copy
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lepton.spec.report import Evaluation
from lepton_operator.api.names import FailureClass, Phase
from lepton_operator.api.versions import leave_out

MAX_ATTEMPTS_LISTED = 10


class StatusModel(BaseModel):
    """A frozen model with camelCase aliases; unknown fields of other versions are overlooked."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


LARGEST_COUNT = 2**53
"""A larger bound is none: the API server compares bounds as floating-point numbers."""

Text = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]


class Condition(StatusModel):
    """One observation of the job, as Kubernetes' own conditions."""

    type: Annotated[str, Field(max_length=316)]
    """What is observed: Admitted, PodsReady, Suspended, Stalled, Complete, Failed or Finished."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(max_length=128)]
    """Why, for programs."""
    message: Annotated[str, Field(max_length=4096)] = ""
    """Why, for people."""
    last_transition_time: datetime
    """Since when."""
    observed_generation: Count | None = None
    """Generation of the spec that this is about."""


class WorkersStatus(StatusModel):
    """Pods of the current attempt by state."""

    ready: Count = 0
    """Pods that run and are ready."""
    active: Count = 0
    """Pods that are not finished."""
    succeeded: Count = 0
    """Pods that ended well."""
    failed: Count = 0
    """Pods that failed."""
    total: Count
    """Pods that the job asks for."""
    summary: Annotated[str, Field(max_length=32)]
    """Ready or succeeded pods of all, such as 7/8."""


class ProgressStatus(StatusModel):
    """Where training stands, as its first worker last reported."""

    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Share of the work that is done."""
    summary: Annotated[str, Field(max_length=32)] | None = None
    """The same for people: 42%, or the count of steps where no total is known."""
    step: Count | None = None
    """Environment steps so far, over all workers; a program's own count for own programs."""
    total_steps: Count | None = None
    """Steps at which training ends at the latest."""
    episodes: Count | None = None
    """Finished episodes so far, over all workers."""
    steps_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Recent speed."""
    remaining_seconds: Count | None = None
    """Estimated time to the end."""
    remaining: Annotated[str, Field(max_length=16)] | None = None
    """The same for people, such as 2m30s."""
    trend: Annotated[str, Field(max_length=16)] | None = None
    """Recent values of the leading metric as a sparkline."""
    message: Text | None = None
    """What the program last said."""
    updated_time: datetime | None = None
    """When these figures were read."""
    last_step_time: datetime | None = None
    """When the step was last seen to have moved in the current attempt."""


class Metric(StatusModel):
    """Latest value of one metric."""

    name: Annotated[str, Field(max_length=128)]
    """Name that the program gave it."""
    value: Annotated[str, Field(max_length=32)]
    """Its latest value, as text."""


class Attempt(StatusModel):
    """One failed or finished attempt."""

    number: Annotated[int, Field(ge=1)]
    """From 1."""
    start_time: datetime | None = None
    """When it was counted."""
    end_time: datetime | None = None
    """When it ended."""
    failure_class: Annotated[FailureClass | None, Field(alias="class")] = None
    """Why it failed, in classes; absent when it was resized."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """Why, for programs."""
    message: Text | None = None
    """Why, in one line."""
    rank: Count | None = None
    """Worker whose end came first."""
    exit_code: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = None
    """Its exit code; 128 + n for signal n."""
    node: Annotated[str, Field(max_length=253)] | None = None
    """Node it ran on."""
    step: Count | None = None
    """Step that training had reached."""
    memory: Annotated[str, Field(max_length=64)] | None = None
    """Memory limit that each worker had, where failurePolicy.growMemoryBy had raised it."""


class ModelStatus(StatusModel):
    """The trained model."""

    uri: Annotated[str, Field(max_length=2048)]
    """Where it lies: pvc://<claim>/<path>."""
    sha256: Annotated[str, Field(max_length=64)]
    """Digest of the file."""
    formats: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=8)] = Field(
        default_factory=list
    )
    """File formats that lie there."""


class EvaluationStatus(Evaluation):
    """What the last evaluation of the policy measured."""


NodeName = Annotated[str, Field(max_length=253)]


MAX_NODES_LISTED = 128


class PlacementStatus(StatusModel):
    """Where workers ran, and where they are not to."""

    nodes: (
        Annotated[
            list[NodeName],
            Field(
                max_length=MAX_NODES_LISTED,
                json_schema_extra={"x-kubernetes-list-type": "atomic"},
            ),
        ]
        | None
    ) = None
    """Nodes on which workers of any attempt ran; the first 128 by name."""
    regions: (
        Annotated[
            list[Annotated[str, Field(max_length=63)]],
            Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
        ]
        | None
    ) = None
    """Regions of these nodes, of jobs that name regions or zones."""
    avoided: (
        Annotated[
            list[NodeName],
            Field(
                max_length=MAX_ATTEMPTS_LISTED,
                json_schema_extra={"x-kubernetes-list-type": "atomic"},
            ),
        ]
        | None
    ) = None
    """Nodes that the current attempt keeps away from, since attempts died there."""


class LeptonTrainingJobStatus(StatusModel):
    """What was last observed of the job."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """Summary of the conditions for people."""
    reason: Annotated[str, Field(max_length=128)] | None = None
    """Why the job is in this phase, in one word; the conditions say more."""
    reward: Annotated[str, Field(max_length=32)] | None = None
    """Mean reward of an episode as last measured: by the evaluation, once there is one, before
    that by the metric episode_reward_mean."""
    selector: Annotated[str, Field(max_length=253)] | None = None
    """Labels of the job's pods, for autoscalers."""
    start_time: datetime | None = None
    """When the first attempt was counted."""
    completion_time: datetime | None = None
    """When the job ended."""
    attempt: Count = 0
    """Number of the current attempt; counted before its pods exist."""
    restarts: Count = 0
    """Restarts so far, for whatever reason."""
    interruptions: Count = 0
    """Restarts among them that don't count towards failurePolicy.maxRestarts: after interruptions
    by the infrastructure, and where a rule says RestartFree."""
    active_seconds: Count | None = None
    """For how long pods have run up to activeSince; kept where activeDeadlineSeconds limits it."""
    active_since: datetime | None = None
    """Since when pods run; absent while none does."""
    memory: Annotated[str, Field(max_length=64)] | None = None
    """Memory limit of each worker, once failurePolicy.growMemoryBy has raised it."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = Field(default_factory=list)
    """Observations: Admitted (of jobs in a queue of Kueue), PodsReady, Suspended, Stalled,
    Complete, Failed, Finished."""
    workers: WorkersStatus | None = None
    """Pods of the current attempt."""
    progress: ProgressStatus | None = None
    """Where training stands."""
    metrics: Annotated[
        list[Metric],
        Field(max_length=64, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(default_factory=list)
    """Latest metrics, 16 at most; Prometheus has the series."""
    attempts: Annotated[
        list[Attempt],
        Field(
            max_length=MAX_ATTEMPTS_LISTED, json_schema_extra={"x-kubernetes-list-type": "atomic"}
        ),
    ] = Field(default_factory=list)
    """The last 10 attempts that ended."""
    evaluation: EvaluationStatus | None = None
    """The last evaluation of the policy."""
    model: ModelStatus | None = None
    """The trained model."""
    placement: PlacementStatus | None = None
    """Where workers ran, and where they are not to."""

    def to_json_object(self) -> dict[str, Any]:
        """The status as a JSON object with camelCase names, without what is None or empty."""
        found = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {key: value for key, value in found.items() if value != []}

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "LeptonTrainingJobStatus":
        """A stored status; what another version or another hand wrote and this one can't read is
        left out, as little of it as can be. Never raises."""
        rest = dict(raw)
        for tried in range(64):
            try:
                return cls.model_validate_json(json.dumps(rest))
            except ValidationError as error:
                found = error.errors()
            if tried == 0:
                rest = copy.deepcopy(rest)
            wrong = {
                problem["loc"][:-1] if problem["type"] == "missing" else problem["loc"]
                for problem in found
            }
            leave_out(rest, wrong)
        return cls()

    def condition(self, kind: str) -> Condition | None:
        """The condition of this type, or None."""
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Whether the condition of this type is True."""
        found = self.condition(kind)
        return found is not None and found.status == "True"
