"""The sections of a training job, defined once for the CRD and for the trainer. No torch here."""

from lepton.spec.agent import AgentSpec, Algorithm
from lepton.spec.environment import EnvironmentSpec
from lepton.spec.report import ErrorReport, Evaluation, LastWord, Progress, SavedModel
from lepton.spec.run import RunConfiguration
from lepton.spec.trainer import CheckpointSpec, EvaluationSpec, Synchronisation, TrainerSpec

__all__ = [
    "AgentSpec",
    "Algorithm",
    "CheckpointSpec",
    "EnvironmentSpec",
    "ErrorReport",
    "Evaluation",
    "EvaluationSpec",
    "LastWord",
    "Progress",
    "RunConfiguration",
    "SavedModel",
    "Synchronisation",
    "TrainerSpec",
]
