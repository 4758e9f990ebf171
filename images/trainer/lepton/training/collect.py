"""Which collector suits an environment: where it steps decides."""

import torch

from lepton.agents.agent import Agent
from lepton.algorithms.learner import Learner
from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.environment import Environment
from lepton.training.collector import Collector, StepCollector
from lepton.training.device_collector import DeviceCollector


def make_collector(
    environment: Environment,
    count: int,
    agent: Agent,
    learner: Learner,
    seed: int,
    device: torch.device,
) -> StepCollector:
    """A collector for `count` copies. Lepton's own step on the GPU that trains, if one does."""
    where = environment.device
    if where is None and environment.is_own and device.type != "cpu":
        where = str(device)
    if where is None:
        return Collector(environment.make_batch(count), agent, learner, seed, device)
    environments = environment.make_batch(count, device=where).unwrapped
    assert isinstance(environments, BatchedVectorEnv)
    return DeviceCollector(environments, agent, learner, seed)
