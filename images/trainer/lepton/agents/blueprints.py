"""Blueprints: which parts an algorithm's agent is made of, and in which spaces it can act."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import nn

from lepton.agents.actuator import (
    Actuator,
    CategoricalActuator,
    GaussianActuator,
    MultiCategoricalActuator,
    SquashedGaussianActuator,
)
from lepton.agents.decision_maker import DecisionMaker, PolicyNetwork
from lepton.agents.q_network import QNetwork
from lepton.errors import InputError
from lepton.spec.agent import Algorithm
from lepton.spec.hyperparameters.dqn import Distribution, DQNHyperparameters
from lepton.spec.hyperparameters.ppo import PPOHyperparameters
from lepton.spec.hyperparameters.sac import SACHyperparameters

Space = spaces.Space[Any]


@dataclass(frozen=True)
class Blueprint:
    """The default parts of an agent that learns by one algorithm."""

    actuators: dict[type[Space], Callable[[Any], Actuator]]
    """By the space of actions."""
    decision_maker: Callable[[int, int, Any], nn.Module]
    """decision_maker(feature_size, distribution_size, hyperparameters)."""
    observations: tuple[type[Space], ...] | None = None
    """Spaces that it can learn from; None means all."""


def _actor_critic(features: int, distribution: int, values: PPOHyperparameters) -> nn.Module:
    return DecisionMaker(features, distribution, values.hidden_sizes, values.activation)


def _q_network(features: int, actions: int, values: DQNHyperparameters) -> nn.Module:
    support = None
    if values.distribution is Distribution.C51:
        smallest, largest = values.value_range
        support = torch.linspace(smallest, largest, values.atoms)
    return QNetwork(
        features,
        actions,
        values.hidden_sizes,
        values.activation,
        dueling=values.dueling,
        atoms=1 if values.distribution is Distribution.NONE else values.atoms,
        support=support,
    )


def _policy_network(features: int, distribution: int, values: SACHyperparameters) -> nn.Module:
    return PolicyNetwork(features, distribution, values.hidden_sizes, values.activation)


BLUEPRINTS: dict[Algorithm, Blueprint] = {
    Algorithm.PPO: Blueprint(
        actuators={
            spaces.Discrete: CategoricalActuator,
            spaces.MultiDiscrete: MultiCategoricalActuator,
            spaces.MultiBinary: MultiCategoricalActuator,
            spaces.Box: GaussianActuator,
        },
        decision_maker=_actor_critic,
    ),
    Algorithm.DQN: Blueprint(
        actuators={spaces.Discrete: CategoricalActuator}, decision_maker=_q_network
    ),
    Algorithm.SAC: Blueprint(
        actuators={spaces.Box: SquashedGaussianActuator}, decision_maker=_policy_network
    ),
}


def make_actuator(algorithm: Algorithm, space: Space) -> Actuator:
    """The actuator for a space of actions. Raises InputError, which says what can act in it."""
    actuators = BLUEPRINTS[algorithm].actuators
    for kind, actuator in actuators.items():
        if isinstance(space, kind):
            return actuator(space)
    able = [
        str(name)
        for name, blueprint in BLUEPRINTS.items()
        if any(isinstance(space, kind) for kind in blueprint.actuators)
    ]
    raise InputError(
        f"{algorithm} can't act in a space {type(space).__name__}; it can in "
        f"{_names(tuple(actuators))}; {_list(able) or 'no algorithm'} can in "
        f"{type(space).__name__}"
    )


def refuse_observations(algorithm: Algorithm, space: Space) -> None:
    """Raise InputError unless the algorithm can learn from observations of this space."""
    allowed = BLUEPRINTS[algorithm].observations
    if allowed is None or isinstance(space, allowed):
        return
    able = [
        str(name)
        for name, blueprint in BLUEPRINTS.items()
        if blueprint.observations is None or isinstance(space, blueprint.observations)
    ]
    raise InputError(
        f"{algorithm} can't learn from observations of space {type(space).__name__}; it can from "
        f"{_names(allowed)}; {_list(able)} can from {type(space).__name__}"
    )


def _names(kinds: tuple[type[Space], ...]) -> str:
    return _list([kind.__name__ for kind in kinds])


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
