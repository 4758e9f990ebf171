"""Lepton trains agents on Kubernetes.

`from lepton import Environment, Agent, Trainer` is the whole first lesson; `lepton.report` gives
any PyTorch program progress that the operator shows. Names are imported when they are first used,
so that `import lepton` needs neither torch nor NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton.agents.agent import Agent
    from lepton.environments.environment import Environment
    from lepton.errors import InputError, LeptonError, TrainingError
    from lepton.reporting.report import report
    from lepton.training.trainer import Trainer, TrainingResult

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Environment",
    "InputError",
    "LeptonError",
    "Trainer",
    "TrainingError",
    "TrainingResult",
    "__version__",
    "report",
]

_HOMES = {
    "Agent": "lepton.agents.agent",
    "Environment": "lepton.environments.environment",
    "InputError": "lepton.errors",
    "LeptonError": "lepton.errors",
    "Trainer": "lepton.training.trainer",
    "TrainingError": "lepton.errors",
    "TrainingResult": "lepton.training.trainer",
    "report": "lepton.reporting.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
