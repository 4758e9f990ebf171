"""The environments that lepton brings, one module each; a module is imported when it is used.

Each has a function `scenario(**parameters) -> Scenario`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from lepton.environments.scenario import Scenario

SCENARIOS = {
    "CartPole": "cartpole",
    "credit-limits": "credit_limits",
    "diagnosis": "diagnosis",
    "drug-screening": "drug_screening",
    "fraud-screening": "fraud_screening",
    "irrigation": "irrigation",
    "microgrid": "microgrid",
    "portfolio": "portfolio",
    "production-line": "production_line",
    "robot-navigation": "robot_navigation",
    "safe-danger": "safe_danger",
    "supply-chain": "supply_chain",
    "traffic-signals": "traffic_signals",
    "treatment": "treatment",
    "uav-inspection": "uav_inspection",
}
"""Module by name. The Gymnasium id is `lepton/<name>-v1`."""


def scenario_function(name: str) -> Callable[..., Scenario[Any]]:
    """What makes the scenario of this name; its arguments are the scenario's parameters."""
    made: Callable[..., Scenario[Any]] = import_module(f"{__name__}.{SCENARIOS[name]}").scenario
    return made


def make_scenario(name: str, **parameters: Any) -> Scenario[Any]:
    """The scenario of this name. Raises TypeError for parameters that it does not have, and
    ValueError for values that it can't have."""
    return scenario_function(name)(**parameters)
