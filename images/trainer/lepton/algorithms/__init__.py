"""Learning algorithms, one file each; each is a `Learner`."""

from importlib import import_module
from typing import Any

from lepton.agents.network import AgentNetwork
from lepton.algorithms.learner import Learner, Workplace
from lepton.spec.agent import Algorithm
from lepton.spec.hyperparameters.base import Hyperparameters

_LEARNERS = {
    Algorithm.PPO: "lepton.algorithms.ppo:PPO",
    Algorithm.DQN: "lepton.algorithms.dqn:DQN",
    Algorithm.SAC: "lepton.algorithms.sac:SAC",
}


def make_learner(
    algorithm: Algorithm,
    network: AgentNetwork,
    hyperparameters: Hyperparameters,
    workplace: Workplace,
) -> Learner:
    """The learner of an algorithm, whose module is imported when it is first used."""
    module, _, name = _LEARNERS[algorithm].partition(":")
    learner: Any = getattr(import_module(module), name)
    made: Learner = learner(network, hyperparameters, workplace)
    return made
