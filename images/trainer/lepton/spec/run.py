"""What the operator hands to a trainer pod: the run's configuration, resolved and versioned."""

from typing import Annotated, Literal

from pydantic import Field

from lepton.spec.agent import AgentSpec
from lepton.spec.base import SpecModel
from lepton.spec.environment import EnvironmentSpec
from lepton.spec.trainer import CheckpointSpec, EvaluationSpec, TrainerSpec

RUN_VARIABLE = "LEPTON_RUN"
"""Environment variable with the RunConfiguration as JSON."""
PORT_VARIABLE = "LEPTON_PORT"
"""Environment variable with the TCP port on which the first worker serves /progress and /metrics;
unset, nothing is served."""
STORAGE_VARIABLE = "LEPTON_STORAGE"
"""Environment variable with the folder of this run's files that outlives a pod; unset without
storage. Checkpoints are in its folder `checkpoints`, models in `model`."""
TERMINATION_LOG_VARIABLE = "LEPTON_TERMINATION_LOG"
"""Environment variable with the file that takes the LastWord; unset outside of Kubernetes."""
PROGRESS_PORT = 7070


class RunConfiguration(SpecModel):
    """One training run, with every default resolved."""

    version: Literal["v1alpha1"] = "v1alpha1"
    """Version of this format."""
    job: Annotated[str, Field(max_length=320)]
    """`namespace/name` of the job, for logs; a name alone outside of Kubernetes."""
    environment: EnvironmentSpec = Field(default_factory=EnvironmentSpec)
    """What the agent acts in."""
    agent: AgentSpec = Field(default_factory=AgentSpec)
    """What learns."""
    trainer: TrainerSpec = Field(default_factory=TrainerSpec)
    """How long and how."""
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    """How the policy is judged."""
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec)
    """How often the run's state is saved."""
    resume_from: Annotated[str, Field(max_length=2048)] | None = None
    """Where this process finds what checkpoint.resumeFrom names: a file or a folder."""
