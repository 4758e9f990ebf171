"""Data parallel: two processes learn what one would from all the data, and fail together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lepton import Agent, Environment
from lepton.algorithms.dqn import DQN
from lepton.algorithms.learner import Workplace
from lepton.algorithms.ppo import PPO
from lepton.algorithms.replay import Transitions
from lepton.algorithms.rollout import Rollout
from lepton.training.collector import Collector

HYPERPARAMETERS = {
    "minibatches": 1,
    "epochs": 3,
    "horizon": 24,
    "entropy_coefficient": 0.01,
    "normalise_observations": True,
    "normalise_rewards": True,
}

SCRIPT = """
import os, sys
import torch
from lepton import Agent, Environment
from lepton.algorithms.ppo import PPO
from lepton.spec.trainer import Synchronisation
from lepton.distributed import join_group
from lepton.algorithms.learner import Workplace
from lepton.algorithms.rollout import Rollout

group = join_group()
rollouts, hyperparameters = torch.load("rollouts.pt", weights_only=True)
environment = Environment()
results = {}
for mode in Synchronisation:
    # Different on purpose: the first process's parameters are everybody's.
    agent = Agent(environment.action_space, environment.observation_space,
                  hyperparameters=hyperparameters, seed=group.rank)
    learner = PPO(agent.network, agent.hyperparameters,
                  Workplace(group=group, synchronisation=mode))
    for rollout in rollouts[group.rank]:
        learner.learn(Rollout(**rollout))
    results[mode.value] = agent.network.state_dict()
collected = group.collect_bytes(bytes([group.rank]) * (group.rank + 1))
assert collected == [b"\\0", b"\\1\\1"], collected
assert group.share_bytes(b"first" if group.rank == 0 else None) == b"first"
assert group.share_bytes(b"" if group.rank == 0 else None) == b""
torch.save(results, f"result-{group.rank}.pt")
group.close()
"""


def part(rollout: Rollout, columns: slice) -> dict[str, Any]:
    """Some environments of a rollout."""
    t, row = rollout.final_index
    chosen = (row >= columns.start) & (row < columns.stop)
    return {
        "observations": rollout.observations[:, columns].clone(),
        "actions": rollout.actions[:, columns].clone(),
        "rewards": rollout.rewards[:, columns].clone(),
        "terminated": rollout.terminated[:, columns].clone(),
        "done": rollout.done[:, columns].clone(),
        "valid": rollout.valid[:, columns].clone(),
        "final_index": (t[chosen], row[chosen] - columns.start),
        "final_observations": rollout.final_observations[chosen],
    }


def in_two_processes(
    folder: Path, python: Callable[..., Any], port: int, script: str
) -> list[dict[str, Any]]:
    """What the script leaves behind in each."""
    (folder / "script.py").write_text(script)
    processes = [
        python(
            "script.py",
            RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="localhost",
            MASTER_PORT=str(port),
            GLOO_SOCKET_IFNAME="lo",
        )
        for rank in range(2)
    ]
    for process in processes:
        assert process.wait() == 0, process.output
    return [torch.load(folder / f"result-{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_learn_what_one_learns_from_the_union_of_their_data(
    tmp_path: Path, python: Callable[..., Any], port: int
) -> None:
    environment = Environment()
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        hyperparameters=HYPERPARAMETERS,
        seed=0,
    )
    learner = PPO(agent.network, agent.hyperparameters, Workplace())
    collector = Collector(environment.make_batch(9), agent, learner, 0)
    rollouts = [collector.collect()[0] for _ in range(3)]
    for rollout in rollouts:
        # Unequal numbers of samples, as NEXT_STEP environments have.
        rollout.valid[::5, :4] = False
    # Shares of 4 and 5 environments.
    halves = [[part(r, columns) for r in rollouts] for columns in (slice(0, 4), slice(4, 9))]
    torch.save((halves, HYPERPARAMETERS), tmp_path / "rollouts.pt")
    one, other = in_two_processes(tmp_path, python, port, SCRIPT)
    for rollout in rollouts:
        learner.learn(rollout)
    for name, expected in agent.network.state_dict().items():
        torch.testing.assert_close(one["Gradients"][name], expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(one["Gradients"][name], other["Gradients"][name])
        assert torch.equal(one["Parameters"][name], other["Parameters"][name])


OFF_POLICY_SCRIPT = """
import torch
from lepton import Agent, Environment
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Workplace
from lepton.algorithms.replay import Transitions
from lepton.distributed import join_group
from lepton.spec.trainer import Synchronisation
from lepton.training.collector import Collector

group = join_group()

def make(mode, algorithm, name, values):
    environment = Environment(name)
    # Different on purpose: the first process's parameters are everybody's.
    agent = Agent(environment.action_space, environment.observation_space,
                  algorithm=algorithm, seed=group.rank, hyperparameters=values)
    workplace = Workplace(4, group.rank, group, mode)
    learner = make_learner(agent.algorithm, agent.network, agent.hyperparameters, workplace)
    return environment, agent, learner

parts, hyperparameters = torch.load("parts.pt", weights_only=True)
_, agent, learner = make(Synchronisation.GRADIENTS, "DQN", None, hyperparameters)
for part in parts[group.rank]:
    learner._step(Transitions(**part))
results = {"steps": agent.network.state_dict()}
quick = {"learning_starts": 0, "replay_ratio": 0.2, "hidden_sizes": [16], "batch_size": 16,
         "normalise_observations": True}
cases = [("DQN", None, {**quick, "target_interval": 64}), ("SAC", "Pendulum-v1", quick)]
for mode in Synchronisation:
    for algorithm, name, values in cases:
        environment, agent, learner = make(mode, algorithm, name, values)
        collector = Collector(environment.make_batch(4), agent, learner, group.rank)
        for _ in range(5):
            assert "q_mean" in learner.learn(collector.collect()[0])
        state = {n: v for n, v in learner.state().items() if torch.is_tensor(v)}
        assert "target" in state
        results[f"{mode.value} {algorithm}"] = {**agent.network.state_dict(), **state}
torch.save(results, f"result-{group.rank}.pt")
group.close()
"""


def test_off_policy_workers_step_as_one_and_agree_on_targets_and_critics(
    tmp_path: Path, python: Callable[..., Any], port: int
) -> None:
    environment = Environment()
    hyperparameters = {"learning_rate": 0.01, "max_gradient_norm": 1.0}
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        algorithm="DQN",
        hyperparameters=hyperparameters,
    )
    learner = DQN(agent.network, agent.hyperparameters, Workplace())
    collector = Collector(environment.make_batch(8), agent, learner, 0)
    generator = torch.Generator().manual_seed(0)
    learner._replay.add(collector.collect()[0])
    batches = [vars(learner._replay.sample(60, generator)) for _ in range(4)]
    for batch in batches:
        batch["weights"].uniform_(generator=generator)  # as by priority
    # Shares of 20 and 40.
    halves = [
        [{name: t[rows].clone() for name, t in batch.items()} for batch in batches]
        for rows in (slice(0, 20), slice(20, 60))
    ]
    torch.save((halves, hyperparameters), tmp_path / "parts.pt")
    one, other = in_two_processes(tmp_path, python, port, OFF_POLICY_SCRIPT)
    for batch in batches:
        learner._step(Transitions(**batch))
    for name, expected in agent.network.state_dict().items():
        torch.testing.assert_close(one["steps"][name], expected, atol=1e-5, rtol=1e-5)
    assert one.keys() == {
        "steps", "Gradients DQN", "Gradients SAC", "Parameters DQN", "Parameters SAC",
    }  # fmt: skip
    for case, state in one.items():
        for name, tensor in state.items():
            assert torch.equal(tensor, other[case][name]), f"{case}: {name}"


def test_two_workers_train_stop_together_and_resume_as_if_they_had_not_stopped(
    tmp_path: Path,
    workers: Callable[..., Any],
    last_word: Callable[[int], Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
) -> None:
    run = {
        "environment": {"count": 16},
        "agent": {"rewardThreshold": 10_000, "hyperparameters": {"horizon": 16}},
        "trainer": {"maxSteps": 16_000},
        "evaluation": {"episodes": 4, "everySteps": 5_000},
    }
    whole = workers(run, size=2, LEPTON_STORAGE=str(tmp_path / "whole"))
    for process in whole:
        assert process.wait() == 0, process.output
    expected = last_word(0)
    assert expected["progress"]["step"] == 16_384  # 32 updates of 2 × 16 × 16
    assert not (tmp_path / "last-word-1").exists()

    storage = str(tmp_path / "parts")
    parts = workers(run, size=2, port=port, LEPTON_STORAGE=storage)
    assert eventually(lambda: '"step":0' not in fetch(port, "/progress")[1])
    # One of them is asked to end: both do, after a checkpoint of both.
    parts[1].process.terminate()
    assert [process.wait() for process in parts] == [143, 143], parts[0].output
    assert list((tmp_path / "parts/checkpoints").iterdir())
    for process in workers(run, size=2, LEPTON_STORAGE=storage):
        assert process.wait() == 0, process.output
    found = last_word(0)
    assert found["model"] == expected["model"]
    assert found["evaluation"] == expected["evaluation"]


BAD_TASK = """
import os, signal
import gymnasium

class Task(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, how):
        self.how, self.steps = how, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        self.steps += 1
        if self.steps == 100 and os.environ["RANK"] == "1":
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the reward sensor is broken")
        return 0, 1.0, self.steps % 10 == 0, False, {}
"""


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_when_a_rank_fails_the_others_end_and_say_that_they_are_not_the_cause(
    tmp_path: Path, workers: Callable[..., Any], last_word: Callable[[int], Any], how: str
) -> None:
    (tmp_path / "bad_task.py").write_text(BAD_TASK)
    environment = {"entryPoint": "bad_task:Task", "parameters": {"how": how}, "count": 4}
    first, second = workers({"environment": environment}, size=2)
    assert second.wait() == (-9 if how == "dies" else 1), second.output
    assert first.wait() == 1, first.output
    consequence = last_word(0)["error"]
    assert consequence["secondary"] is True
    assert "another worker process ended" in consequence["line"]
    assert "rank 0: error: another worker process" in first.output
    assert "Traceback" not in first.output
    if how == "raises":
        word = last_word(1)
        assert word["rank"] == 1
        assert word["error"] == {
            "line": "ValueError: the reward sensor is broken",
            "where": "bad_task.py:21 in step",
            "secondary": False,
            "invalid": False,
        }
        assert "Traceback" in second.output
