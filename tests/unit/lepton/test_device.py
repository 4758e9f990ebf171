"""Environments that step on the agent's device, for which torch's CPU stands in for a GPU."""

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("algorithm", "name", "hyperparameters"),
    [
        ("DQN", "lepton/CartPole", {"prioritised_replay": True, "n_step": 2}),
        ("SAC", "lepton/microgrid", {"normalise_observations": True}),
        ("PQN", "lepton/CartPole", {}),
        ("QLearning", "lepton/safe-danger", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*precision lowered by casting.*")
def test_every_algorithm_trains_on_a_device_and_its_runs_go_on_exactly(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    algorithm: str,
    name: str,
    hyperparameters: dict[str, Any],
) -> None:
    replays = algorithm in ("DQN", "SAC")
    if algorithm != "QLearning":
        hyperparameters = {"hidden_sizes": [16], **hyperparameters}
    if replays:
        hyperparameters |= {"replay_ratio": 0.05, "batch_size": 32, "learning_starts": 300}

    def run(storage: Path, stop: int | None = None) -> dict[str, torch.Tensor]:
        environment = Environment(name, device="cpu", count=8)
        agent = Agent(
            environment.action_space,
            algorithm=algorithm,
            hyperparameters={"horizon": 16, **hyperparameters},
        )
        trainer = Trainer(
            environment,
            agent,
            max_steps=2048,
            storage=storage,
            evaluation_episodes=2,
            progress=False,
        )
        if stop is not None:
            monkeypatch.setattr(trainer, "_is_done", lambda: trainer._record.counters.steps >= stop)
        assert trainer.train().steps == (stop or 2048)
        assert isinstance(trainer._collector, DeviceCollector)
        return agent.network.state_dict()

    whole = run(tmp_path / "whole")
    early = run(tmp_path / "parts", 1024)
    assert any(not torch.equal(tensor, early[key]) for key, tensor in whole.items())
    late = run(tmp_path / "parts")
    for key, tensor in whole.items():
        assert torch.equal(tensor, late[key]), key


def test_foreign_environments_cannot_step_on_a_device() -> None:
    with pytest.raises(InputError, match="CartPole-v1 can't step on a device; lepton's own can"):
        Environment("CartPole-v1", device="cpu")
