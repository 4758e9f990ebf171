"""PQN and QLearning: returns, exploration, tables, and what they refuse."""

from collections.abc import Callable
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from lepton import Agent, Environment, InputError, Trainer
from lepton.algorithms import make_learner
from lepton.algorithms.exploration import epsilon_greedy, epsilon_noise
from lepton.algorithms.learner import Workplace
from lepton.algorithms.pqn import lambda_returns
from lepton.algorithms.rollout import Rollout
from lepton.errors import NonFiniteError
from lepton.spec.hyperparameters.pqn import PQNHyperparameters
from lepton.training.collector import Collector


def test_lambda_returns_mix_returns_of_all_lengths_within_an_episode() -> None:
    generator = torch.Generator().manual_seed(0)
    steps, count, gamma, weight = 10, 4, 0.9, 0.7
    rewards, following = (torch.randn(steps, count, generator=generator) for _ in "12")
    terminated = torch.rand(steps, count, generator=generator) < 0.15
    done = terminated | (torch.rand(steps, count, generator=generator) < 0.15)
    found = lambda_returns(rewards, following, terminated, done, gamma, weight)

    def expected(t: int, column: int) -> float:
        future = 0.0 if terminated[t, column] else float(following[t, column])
        if not done[t, column] and t + 1 < steps:
            future = weight * expected(t + 1, column) + (1 - weight) * future
        return float(rewards[t, column]) + gamma * future

    for column in range(count):
        for t in range(steps):
            assert found[t, column].item() == pytest.approx(expected(t, column), abs=1e-5)


def test_epsilon_is_the_share_of_actions_that_are_drawn_evenly() -> None:
    noise = epsilon_noise(1, 20_000, torch.Generator().manual_seed(0))[0]
    values = torch.tensor([[0.0, 0.0, 1.0, 0.0]]).expand(20_000, -1)
    chosen = torch.bincount(epsilon_greedy(values, noise, 0.4), minlength=4) / 20_000
    assert chosen.tolist() == pytest.approx([0.1, 0.1, 0.7, 0.1], abs=0.01)
    assert set(epsilon_greedy(values, noise, 0.0).tolist()) == {2}


def test_exploration_falls_over_a_part_of_the_run() -> None:
    values = PQNHyperparameters(initial_epsilon=1.0, final_epsilon=0.2, exploration_fraction=0.5)
    shares = [values.exploration(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert shares == pytest.approx([1.0, 0.6, 0.2, 0.2])
    at_once = values.model_copy(update={"exploration_fraction": 0.0})
    assert at_once.exploration(0.0) == pytest.approx(0.2)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_comes_within_a_hundredth_of_what_is_computed_by_hand(seed: int) -> None:
    environment = Environment("lepton/safe-danger")
    agent = Agent(environment.action_space, algorithm="QLearning", hyperparameters={"gamma": 0.9})
    Trainer(environment, agent, max_steps=200_000, seed=seed, progress=False).train()
    table = agent.network.decision_maker.values
    exact = torch.tensor([[64.0, 38.2], [43.2, 44.0]])
    torch.testing.assert_close(table.data.cpu(), exact, rtol=0.01, atol=0.0)


def test_pqn_solves_cartpole() -> None:
    environment = Environment()
    agent = Agent(environment.action_space, algorithm="PQN", reward_threshold=475)
    result = Trainer(environment, agent, max_steps=300_000, progress=False).train()
    assert result.evaluation.passed


class Chain(gymnasium.Env[Any, Any]):
    """Two rooms of two places: the episode ends, or is cut, at the end of the second room."""

    observation_space = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])
    action_space = spaces.Discrete(2)

    def __init__(self, truncates: bool) -> None:
        self.truncates, self.place = truncates, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 0
        return (0, 0), {}

    def step(self, action: Any) -> Any:
        self.place += 1
        over = self.place == 3
        where = (self.place // 2, self.place % 2)
        return where, 1.0, over and not self.truncates, over and self.truncates, {}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("truncates", [False, True])
def test_a_table_learns_the_future_of_truncated_episodes_and_none_of_terminated_ones(
    mode: AutoresetMode, truncates: bool
) -> None:
    environment = SyncVectorEnv([lambda: Chain(truncates)] * 4, autoreset_mode=mode)
    agent = Agent(
        Chain.action_space,
        Chain.observation_space,
        algorithm="QLearning",
        hyperparameters={"gamma": 0.5, "learning_rate_decay": 0.0, "initial_value": 8.0},
    )
    learner = make_learner(agent.algorithm, agent.network, agent.hyperparameters, Workplace(4))
    collector = Collector(environment, agent, learner, 0)
    for _ in range(20):
        learner.learn(collector.collect()[0])
    best = agent.network.decision_maker.values.amax(-1).tolist()
    # The place that ends episodes is never acted in, so it keeps the value that it began with.
    last = 1.0 + 0.5 * 8.0 if truncates else 1.0
    assert best == pytest.approx([1 + 0.5 * (1 + 0.5 * last), 1 + 0.5 * last, last, 8.0])


def test_steps_that_only_reset_change_no_table() -> None:
    agent = Agent(spaces.Discrete(2), spaces.Discrete(3), algorithm="QLearning")
    learner = make_learner(agent.algorithm, agent.network, agent.hyperparameters, Workplace(1))
    steps = learner.horizon
    observations = torch.eye(3)[torch.zeros(steps + 1, 1, dtype=torch.int64)]
    no = torch.zeros(steps, 1, dtype=torch.bool)
    nothing = torch.empty(0, dtype=torch.int64)
    rollout = Rollout(
        observations, no.long(), torch.ones(steps, 1), no, no, no, (nothing, nothing),
        torch.empty(0, 3),
    )  # fmt: skip
    learner.learn(rollout)
    assert not agent.network.decision_maker.values.any()


@pytest.mark.parametrize(
    ("algorithm", "source", "spoil", "text"),
    [
        ("PQN", None, lambda r, n: r.observations[3].fill_(torch.nan), "observations from the"),
        ("PQN", None, lambda r, n: r.rewards[3].fill_(torch.inf), "rewards from the environment"),
        (
            "PQN",
            None,
            lambda r, n: next(n.parameters()).data.fill_(torch.nan),
            r"diverged: parameter decision_maker\.network\..* holds NaN or infinity; a lower learn",
        ),
        ("PQN", None, lambda r, n: r.rewards.fill_(1e38), "diverged: .* holds NaN or infinity"),
        ("QLearning", "lepton/safe-danger", lambda r, n: r.rewards[3].fill_(torch.nan), "rewards"),
        (
            "QLearning",
            "lepton/safe-danger",
            lambda r, n: n.decision_maker.values.fill_(torch.nan),
            "diverged: the table of action values holds NaN or infinity",
        ),
        (
            "QLearning",
            "lepton/safe-danger",
            lambda r, n: r.rewards.fill_(3e38),
            "diverged: the table of action values holds NaN or infinity",
        ),
    ],
)
def test_what_is_not_finite_ends_training_and_is_named(
    algorithm: str, source: str | None, spoil: Callable[[Rollout, Any], Any], text: str
) -> None:
    environment = Environment(source)
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        algorithm=algorithm,
        hyperparameters={"gamma": 1.0},
    )
    learner = make_learner(agent.algorithm, agent.network, agent.hyperparameters, Workplace(4))
    rollout, _ = Collector(environment.make_batch(4), agent, learner, 0).collect()
    spoil(rollout, agent.network)
    with pytest.raises(NonFiniteError, match=text):
        learner.learn(rollout)


def test_what_cannot_be_a_table_is_refused() -> None:
    with pytest.raises(InputError, match=r"QLearning can't learn .* Box; .*PPO.* can from Box"):
        Agent(spaces.Discrete(2), spaces.Box(0, 1, (3,)), algorithm="QLearning")
    with pytest.raises(InputError, match=r"table of 1,000,000 states is too large"):
        Agent(spaces.Discrete(2), spaces.MultiDiscrete([1000, 1000]), algorithm="QLearning")
    with pytest.raises(InputError, match=r"QLearning can't act .* Box; it can in Discrete; PPO"):
        Agent(spaces.Box(0, 1, (3,)), spaces.Discrete(2), algorithm="QLearning")
