"""The trainer: limits, thresholds, what it keeps, and exact resume."""

from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from lepton import Agent, Environment, InputError, Trainer
from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.scenario import Scenario

OFF_POLICY = {
    "replay_ratio": 0.05,
    "batch_size": 32,
    "hidden_sizes": [16],
    "learning_starts": 300,
    "replay_capacity": 1000,
}
QUICK: dict[str, dict[str, Any]] = {
    "PPO": {"epochs": 2},
    "DQN": OFF_POLICY | {"exploration_steps": 1000},
    "SAC": OFF_POLICY,
    "PQN": {"epochs": 2, "hidden_sizes": [16]},
    "QLearning": {},
}
"""Hyperparameters with which a thousand steps take a moment."""


def make(
    source: Any = None,
    storage: Path | None = None,
    count: int | None = 8,
    threshold: float | None = None,
    algorithm: str = "PPO",
    hyperparameters: dict[str, Any] | None = None,
    **arguments: Any,
) -> Trainer:
    environment = Environment(source, count=count)
    agent = Agent(
        environment.action_space,
        algorithm=algorithm,
        reward_threshold=threshold,
        hyperparameters={"horizon": 16, **QUICK[algorithm], **(hyperparameters or {})},
    )
    settings = {"evaluation_episodes": 4, "progress": False, "storage": storage, **arguments}
    return Trainer(environment, agent, **settings)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return trainer.agent.network.state_dict()


def assert_same(one: Trainer, other: Trainer) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def test_training_ends_with_the_update_that_reaches_max_steps() -> None:
    result = make(max_steps=1000).train()
    assert result.steps == 1024
    assert result.model is None
    assert result.evaluation.episodes == 4
    assert result.metrics["episode_reward_mean"] > 0


def test_training_ends_with_the_update_that_reaches_max_episodes() -> None:
    result = make(max_episodes=20).train()
    assert 20 <= result.episodes < 40


def test_training_ends_with_the_update_that_reaches_max_seconds_over_all_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        """A second passes whenever it is looked at."""

        now = 0.0

        def monotonic(self) -> float:
            self.now += 1.0
            return self.now

    monkeypatch.setattr("lepton.training.trainer.time", Clock())
    updates = []
    for limit in (20, 50, 50):
        trainer = make(storage=tmp_path, max_seconds=limit)
        result = trainer.train()
        spent = trainer._record.counters.seconds
        # An update looks at the clock a few times.
        assert limit <= spent < limit + 6
        updates.append(result.steps // 128)
    assert 1 < updates[0] < updates[1] == updates[2]


@pytest.mark.parametrize("seed", range(5))
def test_cartpole_is_solved_with_the_defaults(seed: int) -> None:
    environment = Environment()
    agent = Agent(environment.action_space, reward_threshold=475)
    trainer = Trainer(
        environment, agent, max_steps=200_000, seed=seed, evaluate_every=10_000, progress=False
    )
    result = trainer.train()
    assert result.evaluation.passed
    assert result.evaluation.reward_mean >= 475
    assert result.evaluation.episodes == 32
    assert result.steps < 200_000
    # Other episodes again: the agent holds the model that was evaluated.
    assert trainer.evaluate().reward_mean >= 450


class Choices(gymnasium.Env[Any, Any]):
    """One step an episode; the reward is how well the action matches what is shown."""

    def __init__(self, action_space: spaces.Space[Any], observation_space: Any) -> None:
        self.action_space, self.observation_space = action_space, observation_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.shown = self.observation_space.sample()
        return self.shown, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        match self.action_space:
            case spaces.Box():
                reward = -float(np.square(action - 1.0).sum())
            case spaces.MultiBinary():
                reward = float(np.asarray(action).sum())
            case spaces.MultiDiscrete():
                reward = float((np.asarray(action) == self.action_space.nvec - 1).sum())
            case _:
                reward = float(action == self.shown)
        return self.observation_space.sample(), reward, True, False, {}


@pytest.mark.parametrize(
    ("action_space", "observation_space", "good"),
    [
        (spaces.Discrete(3), spaces.Discrete(3), 0.95),
        (spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), 1.9),
        (spaces.MultiBinary(3), spaces.Dict({"a": spaces.Discrete(2)}), 2.8),
        (spaces.Box(-2, 3, (2,)), spaces.Tuple([spaces.Box(-1, 1, (2,))]), -0.1),
    ],
    ids=str,
)
def test_every_kind_of_space_can_be_learned_in(
    action_space: Any, observation_space: Any, good: float
) -> None:
    trainer = make(
        lambda: Choices(action_space, observation_space),
        max_steps=16_000,
        hyperparameters={"learning_rate": 0.003, "epochs": 4},
        evaluation_episodes=32,
    )
    assert trainer.train().evaluation.reward_mean >= good


def test_the_best_evaluated_model_is_the_one_that_is_kept() -> None:
    trainer = make(max_steps=3000, threshold=10_000, evaluate_every=500)
    seen: list[tuple[float, torch.Tensor]] = []
    evaluate = trainer._evaluate_together

    def watched() -> Any:
        evaluation = evaluate()
        state = torch.cat([p.detach().flatten().clone() for p in weights(trainer).values()])
        seen.append((evaluation.reward_mean, state))
        return evaluation

    trainer._evaluate_together = watched  # type: ignore[method-assign]
    result = trainer.train()
    assert result.evaluation.passed is False
    best = max(seen[:-1], key=lambda pair: pair[0])
    assert torch.equal(torch.cat([p.flatten() for p in weights(trainer).values()]), best[1])


def test_one_seed_is_one_run_and_another_is_another() -> None:
    one, same, other = (make(max_steps=600, seed=seed) for seed in (1, 1, 2))
    results = [trainer.train() for trainer in (one, same, other)]
    assert_same(one, same)
    assert results[0].metrics == results[1].metrics
    assert results[0].metrics != results[2].metrics


class Sliders(BatchedVectorEnv):
    """Points to be pushed to the middle of a line; episodes are truncated."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(
            Scenario(
                name="sliders",
                observation_space=spaces.Box(-10, 10, (1,)),
                action_space=spaces.Box(-1, 1, (1,)),
                max_steps=13,
                reset=lambda n, noise: Place(noise[:, :1] * 2 - 1),
                step=lambda place, action, _: (
                    Place(place.x + 0.3 * action),
                    -((place.x + 0.3 * action)[:, 0] ** 2),
                    abs(place.x[:, 0]) > 2,
                ),
                observe=lambda place: place.x.astype(np.float32),
                reset_noise=1,
            ),
            num_envs,
        )


class Place(NamedTuple):
    x: Any


exact_on_a_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="the GPU that trains sums this in no fixed order"
)


@pytest.mark.parametrize(
    ("algorithm", "source", "hyperparameters"),
    [
        ("PPO", None, {}),
        (
            "PPO",
            None,
            {
                "normalise_observations": True,
                "normalise_rewards": True,
                "anneal_learning_rate": True,
            },
        ),
        ("DQN", None, {}),
        ("DQN", None, {"prioritised_replay": True, "normalise_observations": True}),
        pytest.param(
            "DQN",
            None,
            {"prioritised_replay": True, "distribution": "C51", "dueling": True},
            marks=exact_on_a_cpu,
        ),
        ("DQN", None, {"distribution": "QuantileRegression", "double": False, "atoms": 5}),
        ("SAC", Sliders, {}),
        ("SAC", Sliders, {"normalise_observations": True}),
        ("PQN", None, {}),
        ("PQN", None, {"normalise_observations": True}),
        pytest.param("QLearning", "lepton/safe-danger", {}, marks=exact_on_a_cpu),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_run_resumed_in_the_middle_of_episodes_ends_as_one_that_never_stopped(
    tmp_path: Path, algorithm: str, source: Any, hyperparameters: dict[str, Any]
) -> None:
    def run(storage: Path, steps: int | None = None) -> tuple[Trainer, Any]:
        trainer = make(
            source,
            storage=storage,
            max_steps=2048,
            threshold=10_000,
            evaluate_every=600,
            save_model=True,
            algorithm=algorithm,
            hyperparameters=hyperparameters,
        )
        if steps is not None:
            stop_after(trainer, steps)
        return trainer, trainer.train()

    whole, expected = run(tmp_path / "whole")
    with pytest.raises(Stopped):
        run(tmp_path / "parts", steps=512)
    with pytest.raises(Stopped):
        run(tmp_path / "parts", steps=1280)
    parts, found = run(tmp_path / "parts")
    assert_same(whole, parts)
    assert found.metrics == expected.metrics
    assert found.evaluation == expected.evaluation
    assert found.model == expected.model  # the same bytes
    assert (found.steps, found.episodes) == (expected.steps, expected.episodes)


class Stopped(Exception):  # noqa: N818
    pass


def stop_after(trainer: Trainer, steps: int) -> None:
    """Checkpoint and end, as SIGTERM makes it, once so many steps are made."""
    tell = trainer._tell

    def hook() -> None:
        tell()
        if trainer._record.counters.steps >= steps:
            trainer._save_checkpoint()
            raise Stopped

    trainer._tell = hook  # type: ignore[method-assign]


def test_foreign_environments_resume_with_new_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make("FrozenLake-v1", tmp_path, max_steps=512)
    stop_after(trainer, 256)
    with pytest.raises(Stopped):
        trainer.train()
    result = make("FrozenLake-v1", tmp_path, max_steps=512, progress=True).train()
    assert result.steps == 512
    assert "resumed from the checkpoint at step 256 (environments begin new" in (
        capsys.readouterr().err
    )


def test_a_finished_run_is_only_evaluated_again(tmp_path: Path) -> None:
    first = make(storage=tmp_path, max_steps=512).train()
    again = make(storage=tmp_path, max_steps=512).train()
    assert again.steps == first.steps


def test_a_finished_run_with_a_higher_limit_goes_on(tmp_path: Path) -> None:
    make(storage=tmp_path, max_steps=512).train()
    longer = make(storage=tmp_path, max_steps=1024)
    assert longer.train().steps == 1024


def test_a_finished_run_with_a_higher_limit_is_evaluated_again(tmp_path: Path) -> None:
    make(storage=tmp_path, max_steps=512, threshold=10_000).train()
    longer = make(storage=tmp_path, max_steps=2048, threshold=10_000)
    longer.train()
    # Five of the twenty are behind it; then one is due in each of the twelve updates.
    assert longer._record.counters.evaluations == 4 + 12 + 1


@pytest.mark.parametrize("place", ["", "checkpoints", "checkpoints/checkpoint-000000000000512.pt"])
def test_a_run_begins_from_the_checkpoint_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    whole = make(storage=tmp_path / "whole", max_steps=1024)
    whole.train()
    make(storage=tmp_path / "first", max_steps=512).train()
    before = sorted((tmp_path / "first").rglob("*"))
    second = make(
        storage=tmp_path / "second",
        resume_from=tmp_path / "first" / place,
        max_steps=1024,
        progress=True,
    )
    assert second.train().steps == 1024
    assert "resumed from the checkpoint at step 512" in capsys.readouterr().err
    assert_same(whole, second)
    assert sorted((tmp_path / "first").rglob("*")) == before


def test_a_runs_own_checkpoint_goes_before_the_one_to_begin_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(storage=tmp_path / "other", max_steps=256).train()
    make(storage=tmp_path / "own", max_steps=768).train()
    own = make(
        storage=tmp_path / "own", resume_from=tmp_path / "other", max_steps=768, progress=True
    )
    own.train()
    assert "resumed from the checkpoint at step 768" in capsys.readouterr().err


def test_a_run_without_storage_can_begin_from_another(tmp_path: Path) -> None:
    make(storage=tmp_path, max_steps=256).train()
    assert make(resume_from=tmp_path, max_steps=512).train().steps == 512


def test_where_there_is_no_checkpoint_a_run_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no checkpoint to resume from in .*nothing"):
        make(resume_from=tmp_path / "nothing", max_steps=256).train()
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(InputError, match=r"notes\.txt is no checkpoint"):
        make(resume_from=tmp_path / "notes.txt", max_steps=256).train()


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    make(storage=tmp_path, max_steps=256).train()
    other = make(storage=tmp_path, max_steps=256, seed=5, hyperparameters={"gamma": 0.9})
    with pytest.raises(InputError, match=r"of another run \(different: hyperparameters, seed\)"):
        other.train()


def test_endless_episodes_are_refused_in_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(Choices):
        def step(self, action: Any) -> Any:
            observation, *_ = super().step(action)
            return observation, 0.0, False, False, {}

    monkeypatch.setattr("lepton.training.evaluation.MAX_EPISODE_STEPS", 50)
    with pytest.raises(InputError, match="did not end within 50 steps"):
        make(lambda: Endless(spaces.Discrete(2), spaces.Discrete(2)), max_steps=128).train()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_every_environment_plays_its_share_of_an_evaluation(mode: str) -> None:
    from lepton.training.evaluation import Evaluator

    class Lengths(gymnasium.vector.SyncVectorEnv):
        """Environment i has episodes of i + 1 steps."""

        def __init__(self, num_envs: int) -> None:
            super().__init__(
                [lambda i=i: Fixed(i + 1) for i in range(num_envs)], autoreset_mode=mode
            )

    class Fixed(Choices):
        def __init__(self, length: int) -> None:
            super().__init__(spaces.Discrete(2), spaces.Discrete(2))
            self.length = length

        def reset(self, **arguments: Any) -> Any:
            self.left = self.length
            return super().reset(**arguments)

        def step(self, action: Any) -> Any:
            observation, *_ = super().step(action)
            self.left -= 1
            return observation, 1.0, self.left == 0, False, {}

    environment = Environment(Lengths)
    agent = Agent(environment.action_space, environment.observation_space)
    rewards = Evaluator(environment, agent, 66).play(seed=0)
    expected = [*range(1, 65), 1, 2]
    assert sorted(rewards.tolist()) == sorted(map(float, expected))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, not 0"),
        ({"max_steps": "10"}, "max_steps must be a whole number of at least 1, not '10'"),
        ({"max_steps": 1.5}, "max_steps must be a whole number of at least 1, not 1.5"),
        ({"max_steps": float("inf")}, "max_steps must be a whole number of at least 1, not inf"),
        ({"max_episodes": -3}, "max_episodes must be a whole number of at least 1, not -3"),
        ({"max_seconds": 0}, "max_seconds must be more than 0"),
        ({"max_seconds": "1h"}, "max_seconds must be a finite number, not '1h'"),
        ({"evaluation_episodes": 0}, "evaluation_episodes must be a whole number of at least 1"),
        ({"evaluate_every": 0.5}, "evaluate_every must be a whole number of at least 1"),
        ({"keep_checkpoints": 0}, "keep_checkpoints must be a whole number of at least 1"),
        ({"checkpoint_every": -1}, "checkpoint_every must be 0 or more, not -1"),
        ({"seed": "a"}, "seed must be a whole number from 0 to 4294967295, not 'a'"),
        ({"seed": 2**32}, "seed must be a whole number from 0 to 4294967295, not 4294967296"),
        (
            {"synchronisation": "gradient"},
            r"gradient is unknown \(did you mean Gradients\?\); there are Gradients, Parameters",
        ),
    ],
)
def test_impossible_arguments_are_refused_by_name(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make(**arguments)


def test_whole_numbers_are_taken_in_any_form() -> None:
    trainer = make(max_steps=2e3, evaluate_every=np.int64(100), seed=np.uint8(7))
    assert (trainer.max_steps, trainer.seed) == (2000, 7)
    assert type(trainer.max_steps) is int


def test_what_is_no_environment_or_no_agent_of_leptons_is_refused() -> None:
    environment = Environment()
    agent = Agent(environment.action_space)
    with pytest.raises(InputError, match=r"environment must be a lepton\.Environment, not Agent"):
        Trainer(agent, environment)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"agent must be a lepton\.Agent, not str"):
        Trainer(environment, "PPO")  # type: ignore[arg-type]


def test_an_agent_for_other_actions_is_refused() -> None:
    with pytest.raises(InputError, match=r"the agent acts in Discrete\(3\)"):
        Trainer(Environment(), Agent(spaces.Discrete(3)))


def test_threads_follow_the_network_and_the_cpu_quota(tmp_path: Path) -> None:
    from lepton.training.processor import available_cpus, set_threads

    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert available_cpus(tmp_path) <= 2
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert available_cpus(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert available_cpus(tmp_path) >= 1
    assert set_threads(torch.nn.Linear(4, 4)) == 1
