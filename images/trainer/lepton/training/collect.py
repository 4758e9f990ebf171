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
    """A collector for `count` copies, for an agent that is on `device`. Lepton's own step there too
    where it is a GPU, or was named."""
    if environment.device is None and (device.type == "cpu" or not environment.is_own):
        return Collector(environment.make_batch(count), agent, learner, seed, device)
    environments = environment.make_batch(count, device=str(device)).unwrapped
    assert isinstance(environments, BatchedVectorEnv)
    return DeviceCollector(environments, agent, learner, seed)
