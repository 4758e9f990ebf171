"""Data parallel: two processes learn what one would from all the data, and fail together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lepton import Agent, Environment
from lepton.algorithms.learner import Workplace
from lepton.algorithms.ppo import PPO
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
    (tmp_path / "script.py").write_text(SCRIPT)
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
    for rollout in rollouts:
        learner.learn(rollout)
    for process in processes:
        assert process.wait() == 0, process.output
    one, other = (
        torch.load(tmp_path / f"result-{rank}.pt", weights_only=True) for rank in range(2)
    )
    for name, expected in agent.network.state_dict().items():
        torch.testing.assert_close(one["Gradients"][name], expected, atol=1e-5, rtol=1e-5)
        assert torch.equal(one["Gradients"][name], other["Gradients"][name])
        assert torch.equal(one["Parameters"][name], other["Parameters"][name])


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
