"""Hyperparameters of each algorithm: names, ranges and defaults. No torch here."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lepton.spec.agent import Algorithm
from lepton.spec.hyperparameters.base import Hyperparameters
from lepton.spec.hyperparameters.dqn import DQNHyperparameters
from lepton.spec.hyperparameters.ppo import PPOHyperparameters
from lepton.spec.hyperparameters.pqn import PQNHyperparameters
from lepton.spec.hyperparameters.q_learning import QLearningHyperparameters
from lepton.spec.hyperparameters.sac import SACHyperparameters
from lepton.spec.suggestions import unknown

HYPERPARAMETERS: dict[Algorithm, type[Hyperparameters]] = {
    Algorithm.PPO: PPOHyperparameters,
    Algorithm.PQN: PQNHyperparameters,
    Algorithm.DQN: DQNHyperparameters,
    Algorithm.SAC: SACHyperparameters,
    Algorithm.Q_LEARNING: QLearningHyperparameters,
}


def validate_hyperparameters(
    algorithm: Algorithm, values: Mapping[str, Any] | Hyperparameters
) -> Hyperparameters:
    """The algorithm's hyperparameters with `values` over its defaults.

    Names are taken in camelCase or snake_case. Raises ValueError with one line that names the
    wrong value and what is right.
    """
    model = HYPERPARAMETERS[algorithm]
    if isinstance(values, Hyperparameters):
        if not isinstance(values, model):
            raise ValueError(
                f"{type(values).__name__} are not those of {algorithm}, which takes "
                f"{model.__name__}, or names and values"
            )
        return values
    if not isinstance(values, Mapping):
        raise ValueError(
            "hyperparameters are names and values, such as {'gamma': 0.99}, not " + repr(values)
        )
    for name, field in model.model_fields.items():
        if name != field.alias and name in values and field.alias in values:
            raise ValueError(f"hyperparameter {field.alias} is given again as {name}; leave one")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_line(algorithm, e) for e in error.errors())) from None


def _line(algorithm: Algorithm, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        names = [str(field.alias) for field in HYPERPARAMETERS[algorithm].model_fields.values()]
        return unknown("hyperparameter", path, names, owner=str(algorithm))
    text = error["msg"][0].lower() + error["msg"][1:]
    return f"hyperparameter {path}: {text}, not {error['input']!r}"
