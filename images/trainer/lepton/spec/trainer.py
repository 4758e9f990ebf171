"""Sections `trainer`, `evaluation` and `checkpoint`: how long, how, and how often."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from lepton.spec.base import SpecModel, text_like

DEFAULT_MAX_STEPS = 1_000_000
CLAIM_SCHEME = "pvc://"
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""Of a path; `..` is none."""

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

    resume_from: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=1024),
            *text_like(
                rf"({CLAIM_SCHEME}[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?{_SEGMENT}(/{_SEGMENT})*",
                "resumeFrom is a path on the storage's claim, such as other-run-1a2b3c4d, or on any"
                " claim, such as pvc://claim/other-run-1a2b3c4d",
            ),
        ]
        | None
    ) = None
    """Checkpoint to begin from while the run has none of its own: a checkpoint's file, a folder of
    them, or the folder of another job's run, as status.model.uri names it. Either a path on
    storage.claimName, or pvc://claim/path on any claim of the namespace. Environment, agent and
    seed must be those of that run; its counts of steps and episodes go on."""
