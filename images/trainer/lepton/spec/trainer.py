"""Sections `trainer`, `evaluation` and `checkpoint`: how long, how, and how often."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from lepton.spec.base import SpecModel, not_supported_yet

DEFAULT_MAX_STEPS = 1_000_000

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Steps = Annotated[int, Field(ge=1, le=10**15)]


class Synchronisation(StrEnum):
    """What data-parallel workers exchange."""

    GRADIENTS = "Gradients"
    PARAMETERS = "Parameters"


class TrainerSpec(SpecModel):
    """How long to train and what to keep."""

    max_episodes: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Stop after this many finished episodes, counted over all workers."""

    max_steps: Steps | None = None
    """Stop after this many environment steps, counted over all workers. 1,000,000 when neither
    maxSteps nor maxEpisodes nor maxSeconds is set."""

    max_seconds: Annotated[int, Field(ge=1, le=10**8)] | None = None
    """Stop after this many seconds of training, with what is learned by then; restarts included.
    To fail a job that takes too long, set activeDeadlineSeconds."""

    seed: Seed = 0
    """Seed of every random generator. Two runs with the same seed and size are the same run."""

    save_model: bool = True
    """Save the model to the job's storage at the end."""

    synchronisation: Synchronisation = Synchronisation.GRADIENTS
    """Gradients: workers all-reduce gradients for every minibatch, as exact as one large batch.
    Parameters: each learns on its own and parameters are averaged once per iteration."""

    @property
    def step_limit(self) -> int | None:
        """The limit in environment steps, with the default where no limit at all is set."""
        limits = (self.max_steps, self.max_episodes, self.max_seconds)
        return DEFAULT_MAX_STEPS if limits == (None, None, None) else self.max_steps


class EvaluationSpec(SpecModel):
    """How the policy is judged: greedily, in environments that training does not use."""

    episodes: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Episodes of one evaluation."""

    every_steps: Steps | None = None
    """Evaluate after every so many environment steps of training. Default: a twentieth of
    maxSteps when a rewardThreshold is set, otherwise only at the end."""


class CheckpointSpec(SpecModel):
    """Checkpoints, from which an interrupted run continues as if it had not stopped."""

    every_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds between two checkpoints."""

    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """How many of the latest checkpoints stay on the storage."""

    resume_from: Annotated[str, Field(max_length=1024)] | None = not_supported_yet()
    """Checkpoint to begin from. Not supported yet."""
