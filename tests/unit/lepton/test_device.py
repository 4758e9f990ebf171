"""Environments that step on the agent's device, for which torch's CPU stands in for a GPU."""

from pathlib import Path

import pytest
import torch

from lepton import Agent, Environment, InputError, Trainer
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Workplace
from lepton.training.collect import make_collector
from lepton.training.collector import Collector
from lepton.training.device_collector import DeviceCollector

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["lepton/CartPole-v1", "lepton/safe-danger-v1"])
def test_a_rollout_on_a_device_is_that_of_numpy(name: str) -> None:
    rollouts = []
    for device in (None, "cpu"):
        environment = Environment(name, device=device)
        agent = Agent(
            environment.action_space,
            environment.observation_space,
            hyperparameters={"horizon": 210},
        )
        learner = make_learner(agent.algorithm, agent.network, agent.hyperparameters, Workplace(6))
        collector = make_collector(environment, 6, agent, learner, 3, CPU)
        assert isinstance(collector, DeviceCollector if device else Collector)
        rollouts.append(collector.collect())
    (ours, episodes), (theirs, expected) = reversed(rollouts)
    torch.testing.assert_close(ours.observations, theirs.observations)
    torch.testing.assert_close(ours.rewards, theirs.rewards)
    assert torch.equal(ours.actions, theirs.actions)
    assert torch.equal(ours.terminated, theirs.terminated)
    assert torch.equal(ours.done, theirs.done)
    assert torch.equal(torch.stack(ours.final_index), torch.stack(theirs.final_index))
    torch.testing.assert_close(ours.final_observations, theirs.final_observations)
    assert episodes.steps == expected.steps
    assert sorted(episodes.scores) == pytest.approx(sorted(expected.scores), abs=1e-3)
    assert sorted(episodes.lengths) == sorted(expected.lengths)


def make(storage: Path | None, steps: int) -> Trainer:
    environment = Environment(device="cpu", count=64)
    agent = Agent(environment.action_space, reward_threshold=475)
    return Trainer(
        environment, agent, max_steps=steps, evaluate_every=10**6, storage=storage, progress=False
    )


def test_cartpole_is_learned_on_a_device_and_a_run_goes_on_exactly(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole", 80_000)
    assert whole.train().metrics["episode_reward_mean"] > 100  # at random 22
    make(tmp_path / "parts", 30_000).train()
    parts = make(tmp_path / "parts", 80_000)
    parts.train()
    for name, tensor in whole.agent.network.state_dict().items():
        assert torch.equal(tensor, parts.agent.network.state_dict()[name]), name


def test_foreign_environments_cannot_step_on_a_device() -> None:
    with pytest.raises(InputError, match="CartPole-v1 can't step on a device; lepton's own can"):
        Environment("CartPole-v1", device="cpu")
