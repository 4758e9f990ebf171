"""Environments that step on the agent's device: torch's CPU, and the GPU where there is one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lepton import Agent, Environment, InputError, Trainer
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Workplace
from lepton.distributed import _refuse_shared_gpus, join_group
from lepton.training.collect import make_collector
from lepton.training.collector import Collector
from lepton.training.device_collector import DeviceCollector

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


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
        collector = make_collector(environment, 6, agent, learner, 3, torch.device("cpu"))
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


def make(device: str | None, storage: Path | None, steps: int) -> Trainer:
    environment = Environment(device=device, count=64)
    agent = Agent(environment.action_space, reward_threshold=475)
    return Trainer(
        environment, agent, max_steps=steps, evaluate_every=10**6, storage=storage, progress=False
    )


@pytest.mark.parametrize("device", DEVICES)
def test_cartpole_is_learned_on_a_device_and_a_run_goes_on_exactly(
    tmp_path: Path, device: str
) -> None:
    whole = make(device, tmp_path / "whole", 80_000)
    assert whole.train().metrics["episode_reward_mean"] > 100  # at random 22
    make(device, tmp_path / "parts", 30_000).train()
    parts = make(device, tmp_path / "parts", 80_000)
    parts.train()
    for name, tensor in whole.agent.network.state_dict().items():
        assert torch.equal(tensor, parts.agent.network.state_dict()[name]), name


@pytest.mark.parametrize("device", DEVICES)
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
    device: str,
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
        environment = Environment(name, device=device, count=8)
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
    in_no_fixed_order = algorithm == "QLearning" and device == "cuda"
    for key, tensor in whole.items():
        if in_no_fixed_order:
            torch.testing.assert_close(tensor, late[key])
        else:
            assert torch.equal(tensor, late[key]), key


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch tells where there are some; no tensor can be put there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")


@pytest.mark.usefixtures("two_gpus")
def test_an_environment_that_names_the_cpu_is_trained_there_beside_a_gpu() -> None:
    trainer = make("cpu", None, 4096)
    assert trainer.train().steps == 4096
    assert isinstance(trainer._collector, DeviceCollector)
    assert {p.device.type for p in trainer.agent.network.parameters()} == {"cpu"}


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_checkpoint_of_another_place_goes_on_with_what_was_learnt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    def run(device: str | None, steps: int) -> Trainer:
        environment = Environment(device=device, count=16)
        values = {"learning_starts": 256} if algorithm == "DQN" else {}
        agent = Agent(environment.action_space, algorithm=algorithm, hyperparameters=values)
        trainer = Trainer(environment, agent, max_steps=steps, storage=tmp_path)
        trainer.train()
        return trainer

    before = run(None, 1024).agent.network.state_dict()
    capsys.readouterr()
    after = run("cpu", 1024)
    told = capsys.readouterr().err
    assert "resumed from the checkpoint at step 1,024 (environments begin new episodes)" in told
    before = {name: tensor.cpu() for name, tensor in before.items()}
    for name, tensor in after.agent.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    later = run("cpu", 2048).agent.network.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in later.items())


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("named", "device"),
    [(None, "cuda:1"), ("cuda", "cuda:1"), ("cuda:1", "cuda:1"), ("cuda:0", "cuda:0")],
)
def test_cuda_is_a_processs_own_gpu_unless_another_is_named(named: str | None, device: str) -> None:
    assert join_group(named).device == torch.device(device)


@pytest.mark.usefixtures("two_gpus")
def test_two_processes_of_a_host_that_name_one_gpu_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="2 processes of this host can't share cuda:0: name cuda"):
        join_group("cuda:0")


@pytest.mark.usefixtures("two_gpus")
def test_three_processes_of_a_host_with_two_gpus_train_on_its_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    told = []
    for rank in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert join_group().device == torch.device("cpu")
        told.append(capsys.readouterr().err)
    assert told == ["3 processes, but GPUs: 2; training on the CPU\n", "", ""]
    with pytest.raises(InputError, match="3 processes of this host can't share cuda: name no dev"):
        join_group("cuda")


def test_pods_that_were_given_one_gpu_are_told_so() -> None:
    store = torch.distributed.HashStore()
    for rank, gpu in enumerate(["GPU-a", "GPU-b", "GPU-a"]):
        store.set(f"gpu-{rank}", gpu)
    for rank, gpu in enumerate(["GPU-a", "GPU-b", "GPU-a"]):
        with pytest.raises(InputError, match=r"processes 0, 2 share GPUs: give each one"):
            _refuse_shared_gpus(store, rank, 3, gpu)
    _refuse_shared_gpus(store, 0, 2, "GPU-a")


def test_a_group_of_the_programs_own_has_to_work_on_the_named_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "is_initialized": True,
        "get_backend_config": "cuda:nccl",
        "get_rank": 1,
        "get_world_size": 2,
    }.items():
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    with pytest.raises(InputError, match="device is cpu, which the program's process group"):
        make("cpu", None, 64).train()
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: "cpu:gloo,cuda:nccl")
    group = join_group("cpu")
    assert (group.rank, group.size, group.device.type) == (1, 2, "cpu")


def test_foreign_environments_cannot_step_on_a_device() -> None:
    with pytest.raises(InputError, match="CartPole-v1 can't step on a device; lepton's own can"):
        Environment("CartPole-v1", device="cpu")
