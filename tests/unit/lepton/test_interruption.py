"""SIGTERM in the middle of a rollout or of an evaluation: the run that goes on ends as one that
was never stopped."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lepton import Agent, Environment, Trainer
from lepton.environments.batched import BatchedVectorEnv
from lepton.errors import Interrupted
from lepton.training import trainer as trainer_module
from lepton.training.interruption import STOP
from lepton.training.trainer import TrainingResult

COPIES, EPISODES = 8, 3
"""Environments that step together in training and in evaluations: by these they are told apart."""
OFF_POLICY = {"replay_ratio": 0.05, "batch_size": 32, "learning_starts": 200}
LEARNERS: list[tuple[str, str, dict[str, Any]]] = [
    ("PPO", "lepton/CartPole", {"normalise_observations": True, "normalise_rewards": True}),
    ("PQN", "lepton/CartPole", {"normalise_observations": True}),
    ("DQN", "lepton/CartPole", OFF_POLICY | {"prioritised_replay": True}),
    ("SAC", "lepton/robot-navigation", OFF_POLICY),
    ("QLearning", "lepton/safe-danger", {}),
]


class Steps:
    """Counts the steps of batches by their size, and sends SIGTERM, as of a minute ago, in one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: Counter[int] = Counter()
        self.stop_at: tuple[int, int] | None = None
        monkeypatch.setattr(STOP, "requested_at", None)
        step = BatchedVectorEnv.step

        def counted(batch: BatchedVectorEnv, actions: Any) -> Any:
            self.made[batch.num_envs] += 1
            torch.rand(1)  # as an environment of the user's own may
            if (batch.num_envs, self.made[batch.num_envs]) == self.stop_at:
                STOP.requested_at = time.monotonic() - 60
            return step(batch, actions)

        monkeypatch.setattr(BatchedVectorEnv, "step", counted)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


class Ended(NamedTuple):
    """A run that came to its end, and how it left the global generator."""

    trainer: Trainer
    result: TrainingResult
    generator: torch.Tensor


Run = Callable[..., Ended]


@pytest.fixture
def run(steps: Steps) -> Run:
    """Train, with SIGTERM in that step of batches of a size."""

    def train(
        storage: Path,
        learner: tuple[str, str, dict[str, Any]],
        stop_at: tuple[int, int] | None = None,
        threshold: float = 10_000,
        max_steps: int = 1024,
    ) -> Ended:
        algorithm, name, hyperparameters = learner
        environment = Environment(name, count=COPIES)
        agent = Agent(
            environment.action_space,
            algorithm=algorithm,
            reward_threshold=threshold,
            hyperparameters={"horizon": 16, **hyperparameters},
        )
        trainer = Trainer(
            environment,
            agent,
            max_steps=max_steps,
            storage=storage,
            evaluation_episodes=EPISODES,
            evaluate_every=300,
            progress=False,
        )
        STOP.requested_at = None
        steps.made.clear()
        steps.stop_at = stop_at
        return Ended(trainer, trainer.train(), torch.get_rng_state())

    return train


def assert_same(one: Ended, other: Ended) -> None:
    networks = [ended.trainer.agent.network.state_dict() for ended in (one, other)]
    for name, tensor in networks[0].items():
        assert torch.equal(tensor, networks[1][name]), name
    for part in ("steps", "episodes", "evaluation", "metrics"):
        assert getattr(one.result, part) == getattr(other.result, part), part
    assert torch.equal(one.generator, other.generator)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner[0])
def test_a_rollout_that_is_given_up_is_made_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: Steps,
    run: Run,
    learner: tuple[str, str, dict[str, Any]],
) -> None:
    monkeypatch.setattr(trainer_module, "SLOW_ROLLOUT", -1.0)  # each may outlast its time
    whole = run(tmp_path / "whole", learner)
    assert steps.made[COPIES] == 128
    made = 0
    for step in (3, 61):  # of the first rollout of these processes, and of their fourth
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", learner, stop_at=(COPIES, step))
        assert steps.made[COPIES] == step
        made += step // 16
    parts = run(tmp_path / "parts", learner)
    assert steps.made[COPIES] == 128 - 16 * made
    assert_same(whole, parts)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.99])
def test_an_evaluation_that_is_given_up_is_made_again(
    tmp_path: Path, steps: Steps, run: Run, share: float
) -> None:
    whole = run(tmp_path / "whole", LEARNERS[0])
    step = int(steps.made[EPISODES] * share)  # the last one is in the evaluation at the end
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", LEARNERS[0], stop_at=(EPISODES, step))
    assert steps.made[EPISODES] == step
    parts = run(tmp_path / "parts", LEARNERS[0])
    assert_same(whole, parts)


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_of_two_evaluations_that_reach_the_threshold_either_can_be_given_up(
    tmp_path: Path, steps: Steps, run: Run, share: float
) -> None:
    whole = run(tmp_path / "whole", LEARNERS[4], threshold=-1000)
    assert whole.result.steps == 384  # the first evaluation did it
    step = round(steps.made[EPISODES] * share)
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", LEARNERS[4], stop_at=(EPISODES, step), threshold=-1000)
    assert steps.made[EPISODES] == step
    parts = run(tmp_path / "parts", LEARNERS[4], threshold=-1000)
    assert steps.made[COPIES] == 0
    assert_same(whole, parts)


def test_a_stop_in_the_last_step_of_an_evaluation_is_seen_before_the_next_rollout(
    tmp_path: Path, steps: Steps, run: Run
) -> None:
    whole = run(tmp_path / "whole", LEARNERS[4])
    with pytest.raises(Interrupted):
        run(tmp_path / "parts", LEARNERS[4], stop_at=(EPISODES, 100))
    assert steps.made == {COPIES: 48, EPISODES: 100}
    parts = run(tmp_path / "parts", LEARNERS[4])
    assert steps.made[COPIES] == 80
    assert_same(whole, parts)


SLOW = """
import time
from pathlib import Path
import gymnasium

class Slow(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)
    evaluates = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 10
        if seed is not None and seed >= 2**31 and Path("slow").exists():
            self.evaluates = True
            Path("evaluating").touch()
        return 0, {}

    def step(self, action):
        if self.evaluates:
            time.sleep(0.05)
        else:
            self.left -= 1
        return 0, 1.0, self.left == 0, False, {}
"""


def test_all_workers_checkpoint_when_the_one_that_evaluates_has_to_end(
    tmp_path: Path, workers: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "slow").touch()
    run = {
        "environment": {"entryPoint": "slow:Slow", "count": 4},
        "agent": {"hyperparameters": {"horizon": 16}},
        "trainer": {"maxSteps": 1024},
        "evaluation": {"episodes": 2, "everySteps": 500},
    }
    storage = tmp_path / "storage"
    processes = workers(run, size=2, LEPTON_STORAGE=str(storage))
    assert eventually((tmp_path / "evaluating").exists)
    processes[0].process.terminate()
    assert [process.wait() for process in processes] == [143, 143], processes[0].output
    assert "stopped by SIGTERM at step 512; the next run goes on" in processes[0].output
    kept = [path.name for path in (storage / "checkpoints").iterdir()]
    assert kept == ["checkpoint-000000000000512.pt"]

    (tmp_path / "slow").unlink()
    processes = workers(run, size=2, LEPTON_STORAGE=str(storage))
    assert [process.wait() for process in processes] == [0, 0], processes[0].output
    assert "resumed from the checkpoint at step 512" in processes[0].output
    assert (storage / "model/agent.pth").exists()
