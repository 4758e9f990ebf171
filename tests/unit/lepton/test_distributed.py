"""Data parallel: two processes learn what one would from all the data, and fail together."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lepton import Agent, Environment
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Learner, Workplace
from lepton.algorithms.replay import Transitions
from lepton.algorithms.rollout import Rollout
from lepton.distributed import WorkerGroup
from lepton.spec.trainer import Synchronisation
from lepton.training.collector import Collector

SMALL = {"hidden_sizes": [16], "learning_rate": 0.01}
CASES: dict[str, dict[str, Any]] = {
    "PPO": {
        "hyperparameters": {**SMALL, "epochs": 3, "horizon": 24, "entropy_coefficient": 0.01},
        "normalised": {"normalise_observations": True, "normalise_rewards": True},
        "exchanges": {"Gradients": 3, "Parameters": 1},
    },
    "PQN": {
        "hyperparameters": {**SMALL, "epochs": 2, "horizon": 24},
        "normalised": {"normalise_observations": True},
        "exchanges": {"Gradients": 2, "Parameters": 1},
    },
    "QLearning": {
        "environment": "lepton/safe-danger",
        "hyperparameters": {"horizon": 24},
        "exchanges": {"Gradients": 24, "Parameters": 1},
    },
    "DQN": {
        "hyperparameters": {**SMALL, "max_gradient_norm": 1.0},
        "exchanges": {"Gradients": 2, "Parameters": 1},
    },
    "SAC": {
        "environment": "Pendulum-v1",
        "hyperparameters": {**SMALL, "target_rate": 0.2},
        # Critics, then policy and temperature; in the end the critics' targets as well.
        "exchanges": {"Gradients": 4, "Parameters": 3},
    },
}
"""What each algorithm learns with, and how often an update exchanges what is as large as the
parameters: once for each minibatch, step of the table or gradient step, or once at its end."""
UPDATES = 3


def learner_of(case: dict[str, Any], group: WorkerGroup, seed: int = 0) -> Learner:
    """A learner whose agent begins with the seed's weights."""
    environment = Environment(case.get("environment"))
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        algorithm=case["algorithm"],
        hyperparameters=case["hyperparameters"],
        seed=seed,
    )
    workplace = Workplace(group=group, synchronisation=Synchronisation(case["mode"]))
    return make_learner(agent.algorithm, agent.network, agent.hyperparameters, workplace)


def teach(learner: Any, update: list[dict[str, Any]]) -> None:
    """One update: from a rollout, or a gradient step on each of some batches of what was kept."""
    for part in update:
        if "rewards" in part:
            learner.learn(Rollout(**part))
            return
        noise = part["noise"]
        if hasattr(learner, "_actuator"):
            learner._actuator.noise = lambda *_, noise=noise, **__: noise
        batch = {name: value for name, value in part.items() if name != "noise"}
        learner._step(Transitions(**batch))
    if hasattr(learner, "_end_update"):
        learner._end_update()
    else:
        learner._optimiser.end_update()


def learned(learner: Any) -> dict[str, Tensor]:
    """All that an update changes and workers agree on."""
    names = ["_optimiser", "_actor_optimiser", "_critic_optimiser", "_table"]
    if hasattr(learner, "_critic_optimiser"):
        names.append("_target")  # which in DQN follows between updates
    found = {name: getattr(learner, name) for name in names if hasattr(learner, name)}
    return {name: one if torch.is_tensor(one) else one.values for name, one in found.items()}


SCRIPT = "\n\n".join(
    [
        """
from typing import Any
import torch, torch.distributed as dist
from torch import Tensor
from lepton import Agent, Environment
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Learner, Workplace
from lepton.algorithms.replay import Transitions
from lepton.algorithms.rollout import Rollout
from lepton.distributed import WorkerGroup, join_group
from lepton.spec.trainer import Synchronisation
""",
        *map(inspect.getsource, (learner_of, teach, learned)),
        """
group = join_group()
exchanged = []
all_reduce = dist.all_reduce

def watched(tensor):
    exchanged.append(tensor.numel())
    return all_reduce(tensor)

dist.all_reduce = watched
results = {}
for name, case in torch.load("cases.pt", weights_only=True).items():
    # Different on purpose: the first process's parameters are everybody's.
    learner = learner_of(case, group, seed=group.rank)
    exchanged.clear()
    for update in case["parts"][group.rank]:
        teach(learner, update)
    state = learned(learner)
    smallest = min(tensor.numel() for tensor in state.values())
    results[name] = {
        "learned": state,
        "network": learner._network.state_dict(),
        "exchanges": sum(size >= smallest for size in exchanged),
    }
collected = group.collect_bytes(bytes([group.rank]) * (group.rank + 1))
assert collected == [b"\\0", b"\\1\\1"], collected
assert group.share_bytes(b"first" if group.rank == 0 else None) == b"first"
assert group.share_bytes(b"" if group.rank == 0 else None) == b""
torch.save(results, f"result-{group.rank}.pt")
group.close()
""",
    ]
)


def some_environments(rollout: Rollout, columns: slice) -> dict[str, Any]:
    """Their part of a rollout."""
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


def lessons(case: dict[str, Any]) -> list[list[list[dict[str, Any]]]]:
    """Updates to learn from: all of each, then the two processes' shares of it."""
    learner = learner_of(case | {"mode": "Gradients"}, WorkerGroup())
    environment = Environment(case.get("environment"))
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        algorithm=case["algorithm"],
        hyperparameters=case["hyperparameters"],
    )
    collector = Collector(environment.make_batch(9), agent, learner, 0)
    if hasattr(learner, "_replay"):
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            learner._replay.add(collector.collect()[0])
        whole = []
        for _ in range(UPDATES * 2):
            batch = vars(learner._replay.sample(60, generator))
            batch["weights"].uniform_(generator=generator)  # as by priority
            batch["noise"] = agent.network.actuator.noise(2, 60, generator=generator)
            whole.append(batch)

        def shares(rows: slice) -> list[list[dict[str, Any]]]:
            parts = [
                {n: (t[:, rows] if n == "noise" else t[rows]).clone() for n, t in batch.items()}
                for batch in whole
            ]
            return [parts[i : i + 2] for i in range(0, len(parts), 2)]

        return [shares(slice(0, 60)), shares(slice(0, 20)), shares(slice(20, 60))]
    rollouts = [collector.collect()[0] for _ in range(UPDATES)]
    for rollout in rollouts:
        # Unequal numbers of samples, as NEXT_STEP environments have.
        rollout.valid[::5, :4] = False
    columns = slice(0, 9), slice(0, 4), slice(4, 9)
    return [[[some_environments(rollout, c)] for rollout in rollouts] for c in columns]


@pytest.fixture(scope="module")
def cases() -> dict[str, dict[str, Any]]:
    """Of each algorithm and mode, with data."""
    found = {}
    for algorithm, case in CASES.items():
        values = dict(case["hyperparameters"])
        on_policy = algorithm in ("PPO", "PQN")
        # Statistics of observations and rewards are everybody's in both modes; so that workers can
        # be compared with learners that are alone, only the first has them.
        exact = values | case.get("normalised", {}) | ({"minibatches": 1} if on_policy else {})
        apart = values | ({"minibatches": 2} if on_policy else {})
        for mode, hyperparameters in ("Gradients", exact), ("Parameters", apart):
            one = {**case, "algorithm": algorithm, "mode": mode, "hyperparameters": hyperparameters}
            one["whole"], *one["parts"] = lessons(one)
            found[f"{algorithm} {mode}"] = one
    return found


def test_two_processes_learn_what_one_learns_from_the_union_of_their_data_or_the_mean_of_two(
    tmp_path: Path, python: Callable[..., Any], port: int, cases: dict[str, dict[str, Any]]
) -> None:
    torch.save(
        {n: {k: v for k, v in case.items() if k != "whole"} for n, case in cases.items()},
        tmp_path / "cases.pt",
    )
    one, other = in_two_processes(tmp_path, python, port, SCRIPT)
    for name, case in cases.items():
        assert one[name]["exchanges"] == UPDATES * case["exchanges"][case["mode"]], name
        for kind in ("learned", "network"):
            for key, tensor in one[name][kind].items():
                assert torch.equal(tensor, other[name][kind][key]), f"{name}: {key}"
        alone = learner_of(case, WorkerGroup())
        if case["mode"] == "Gradients":
            for update in case["whole"]:
                teach(alone, update)
            expected = learned(alone) | alone._network.state_dict()
            found = one[name]["learned"] | one[name]["network"]
        else:
            expected = mean_of_two_alone(case)
            found = one[name]["learned"]
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(
                found[key], tensor, atol=1e-5, rtol=1e-5, msg=f"{name}: {key} differs"
            )


def mean_of_two_alone(case: dict[str, Any]) -> dict[str, Tensor]:
    """What two learners know who learn from their own data and agree on the mean after each
    update."""
    pair = [learner_of(case, WorkerGroup()) for _ in range(2)]
    for updates in zip(*case["parts"], strict=True):
        for learner, update in zip(pair, updates, strict=True):
            teach(learner, update)
        for ours, theirs in zip(*(learned(one).values() for one in pair), strict=True):
            # They do not know the same, or the mean would be either's.
            assert not torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
            ours.data.add_(theirs.data).div_(2)
            theirs.data.copy_(ours.data)
    return learned(pair[0])


OFF_POLICY_SCRIPT = """
import torch
from lepton import Agent, Environment
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Workplace
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

results = {}
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


def test_off_policy_workers_agree_on_targets_and_critics(
    tmp_path: Path, python: Callable[..., Any], port: int
) -> None:
    one, other = in_two_processes(tmp_path, python, port, OFF_POLICY_SCRIPT)
    assert one.keys() == {"Gradients DQN", "Gradients SAC", "Parameters DQN", "Parameters SAC"}
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
