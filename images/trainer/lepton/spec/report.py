"""What a training process tells the outside: its progress, and its last word.

`Progress` is the body of `GET /progress`. `LastWord` is the container's termination message,
which Kubernetes keeps with the pod, so that nothing is lost while nobody pulls.
Both are read leniently: a pod may run another version of lepton, or lie.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_METRICS = 16
TERMINATION_MESSAGE_BYTES = 4096
MAX_COUNT = 10**18
"""A report that counts further is none; larger integers don't survive JSON everywhere."""


class ReportModel(BaseModel):
    """A frozen model with camelCase aliases that overlooks fields it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> str:
        """Compact JSON with camelCase names, without fields that are None."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Progress(ReportModel):
    """Where training stands. Counts are over all workers."""

    step: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 0
    total_steps: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None
    episodes: Annotated[int, Field(ge=0, le=MAX_COUNT)] | None = None
    total_episodes: Annotated[int, Field(ge=1, le=MAX_COUNT)] | None = None
    steps_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    done: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the work that is done, where a limit of time and not of steps or episodes tells."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """Latest value by name; JSON has no NaN, so null stands for a value that is not finite."""
    message: str | None = None

    @property
    def fraction(self) -> float | None:
        """Share of the work that is done, 0 to 1; None when no total is known."""
        shares = [
            done / total
            for done, total in ((self.step, self.total_steps), (self.episodes, self.total_episodes))
            if done is not None and total
        ]
        if self.done is not None:
            shares.append(self.done)
        return min(1.0, max(shares)) if shares else None


class Evaluation(ReportModel):
    """What an evaluation of the greedy policy measured."""

    episodes: Annotated[int, Field(ge=1, le=10**12)]
    """Episodes that were played."""
    reward_mean: Annotated[float, Field(allow_inf_nan=False)]
    """Mean reward of an episode."""
    reward_standard_deviation: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Standard deviation of the episodes' rewards."""
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The rewardThreshold that the mean was held against, if there is one."""
    passed: bool | None = None
    """Whether rewardMean reached the threshold; None without a threshold."""


class SavedModel(ReportModel):
    """The model's file: path under the run's storage, digest of its bytes, formats beside it."""

    path: Annotated[str, Field(max_length=1024)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    formats: Annotated[list[str], Field(max_length=8)] = Field(default_factory=list)


class ErrorReport(ReportModel):
    """Why a process ended: the last line of its traceback and where it was raised."""

    line: Annotated[str, Field(max_length=1024)]
    """Last line of the traceback, such as `ValueError: reward must be finite`."""
    where: Annotated[str, Field(max_length=512)] | None = None
    """`file.py:12 in step`, the innermost frame outside of libraries."""
    secondary: bool = False
    """True when another process's end caused this one (a lost peer in a collective)."""
    silent: Annotated[int, Field(ge=0)] | None = None
    """Rank of the process whose silence ended this one, which may not have ended at all."""
    invalid: bool = False
    """True when the configuration is at fault, so that another attempt can't help."""


class LastWord(ReportModel):
    """The termination message of one process group's pod, at most 4,096 bytes of JSON."""

    lepton: Literal[1] = 1
    """Version of this format, and the mark by which it is told from other messages."""
    rank: Annotated[int, Field(ge=0)] = 0
    progress: Progress | None = None
    evaluation: Evaluation | None = None
    model: SavedModel | None = None
    error: ErrorReport | None = None
