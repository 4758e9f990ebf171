"""Hyperparameters of each algorithm: names, ranges and defaults. No torch here."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lepton.spec.agent import Algorithm
from lepton.spec.hyperparameters.base import Hyperparameters
from lepton.spec.hyperparameters.dqn import DQNHyperparameters
from lepton.spec.hyperparameters.ppo import PPOHyperparameters
from lepton.spec.hyperparameters.sac import SACHyperparameters

HYPERPARAMETERS: dict[Algorithm, type[Hyperparameters]] = {
    Algorithm.PPO: PPOHyperparameters,
    Algorithm.DQN: DQNHyperparameters,
    Algorithm.SAC: SACHyperparameters,
}


def validate_hyperparameters(algorithm: Algorithm, values: Mapping[str, Any]) -> Hyperparameters:
    """The algorithm's hyperparameters with `values` over its defaults.

    Names are taken in camelCase or snake_case. Raises ValueError with one line that names the
    wrong value and what is right.
    """
    model = HYPERPARAMETERS[algorithm]
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_line(algorithm, e) for e in error.errors())) from None


def _line(algorithm: Algorithm, error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        names = [str(field.alias) for field in HYPERPARAMETERS[algorithm].model_fields.values()]
        near = difflib.get_close_matches(path, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"hyperparameter {path} is unknown to {algorithm}{hint}; it has {', '.join(names)}"
    text = error["msg"][0].lower() + error["msg"][1:]
    return f"hyperparameter {path}: {text}, not {error['input']!r}"
