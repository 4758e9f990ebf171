"""DQN: what it aims at, when it learns, and how its variants differ."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from lepton import Agent, Environment, InputError, Trainer
from lepton.agents.q_network import QNetwork
from lepton.algorithms.dqn import DQN, project, quantile_huber_loss
from lepton.algorithms.learner import Workplace
from lepton.algorithms.replay import Transitions
from lepton.errors import NonFiniteError
from lepton.spec import Algorithm
from lepton.spec.hyperparameters import validate_hyperparameters
from lepton.training.collector import Collector


def learner_of(agent: Agent) -> DQN:
    return DQN(agent.network, agent.hyperparameters, Workplace())


def dqn_agent(**arguments: Any) -> Agent:
    environment = Environment()
    return Agent(
        environment.action_space, environment.observation_space, algorithm="DQN", **arguments
    )


class Countdown(gymnasium.Env[Any, Any]):
    """Shows ten times the number of the episode plus the steps that it has had; three steps with
    reward 1, then it is truncated or terminated, as asked."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, truncates: bool) -> None:
        self.truncates, self.episode, self.place = truncates, 0, 0

    def _show(self) -> np.ndarray[Any, Any]:
        return np.array([10.0 * self.episode + self.place], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episode, self.place = self.episode + 1, 0
        return self._show(), {}

    def step(self, action: Any) -> Any:
        self.place += 1
        over = self.place == 3
        return self._show(), 1.0, over and not self.truncates, over and self.truncates, {}


class WorthWhatIsShown(torch.nn.Module):
    """The first action is worth the observation, the second one less."""

    def __init__(self, feature_size: int, distribution_size: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def policy(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([features * self.scale, features * self.scale - 1], 1)


def errors_by_observation(
    mode: AutoresetMode, truncates: bool, n_step: int
) -> dict[tuple[float, int], float]:
    """The error of the expected return of each observation and action."""
    environment = SyncVectorEnv([lambda: Countdown(truncates)], autoreset_mode=mode)
    agent = Agent(
        Countdown.action_space,
        Countdown.observation_space,
        algorithm="DQN",
        decision_maker=WorthWhatIsShown,
        hyperparameters={
            "gamma": 0.5,
            "horizon": 12,  # whole episodes, and a reset in NEXT_STEP
            "n_step": n_step,
            "learning_starts": 0,
            "replay_ratio": 0.1,
            "batch_size": 200,
            "prioritised_replay": True,
        },
    )
    learner = learner_of(agent)
    found: dict[tuple[float, int], float] = {}
    sampled: list[Transitions] = []
    sample = learner._replay.sample

    def watched(*arguments: Any) -> Transitions:
        sampled.append(sample(*arguments))
        assert arguments[2] == pytest.approx(0.7)  # half of the way from 0.4 to 1
        return sampled[-1]

    def prioritise(indices: torch.Tensor, errors: torch.Tensor) -> None:
        keys = zip(
            sampled[-1].observations[:, 0].tolist(), sampled[-1].actions.tolist(), strict=True
        )
        found.update(zip(keys, errors.tolist(), strict=True))

    learner._replay.sample = watched  # type: ignore[method-assign]
    learner._replay.prioritise = prioritise  # type: ignore[method-assign]
    rollout, episodes = Collector(environment, agent, learner, 0).collect()
    learner.learn(rollout, progress=0.5)
    assert len(sampled) == 1
    assert len(found) == episodes.steps
    return found


@pytest.mark.parametrize("n_step", [1, 2, 5])
@pytest.mark.parametrize("truncates", [False, True], ids=["terminated", "truncated"])
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_targets_are_rewards_and_what_the_episode_would_have_gone_on_to_be_worth(
    mode: AutoresetMode, truncates: bool, n_step: int
) -> None:
    found = errors_by_observation(mode, truncates, n_step)
    assert {10.0, 11.0, 12.0, 20.0, 21.0, 22.0} <= {observation for observation, _ in found}
    for (observation, action), error in found.items():
        place = observation % 10
        steps = int(min(n_step, 3 - place))
        expected = sum(0.5**k for k in range(steps))
        if truncates or place + steps < 3:
            expected += 0.5**steps * (observation + steps)
        assert error == pytest.approx(expected - (observation - action)), (observation, action)


class Linear(torch.nn.Module):
    """What actions are worth is one row of weights for each feature."""

    def __init__(self, feature_size: int, distribution_size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(feature_size, distribution_size))

    def policy(self, features: torch.Tensor) -> torch.Tensor:
        return features @ self.weight


def batch_of(**parts: Any) -> Transitions:
    """One transition of the first of four features to the second."""
    eye = torch.eye(4)
    return Transitions(
        **{
            "observations": eye[:1],
            "actions": torch.tensor([0]),
            "returns": torch.tensor([1.0]),
            "discounts": torch.tensor([0.9]),
            "next_observations": eye[1:2],
            "weights": torch.ones(1),
            "indices": torch.zeros(1, dtype=torch.int64),
            **parts,
        }
    )


@pytest.mark.parametrize(("double", "target"), [(True, 1 + 0.9 * 5), (False, 1 + 0.9 * 7)])
def test_double_lets_the_network_choose_what_the_target_network_values(
    double: bool, target: float
) -> None:
    agent = dqn_agent(decision_maker=Linear, hyperparameters={"double": double})
    learner = learner_of(agent)
    maker, target_maker = agent.network.decision_maker, learner._target.network.decision_maker
    assert isinstance(maker, Linear)
    assert isinstance(target_maker, Linear)
    with torch.no_grad():
        target_maker.weight[1] = torch.tensor([7.0, 5.0])
        maker.weight[1] = torch.tensor([2.0, 3.0])
        maker.weight[0, 0] = 0.5
    loss, error, estimate = learner._step(batch_of()).tolist()
    assert error == pytest.approx(target - 0.5)
    assert loss == pytest.approx(0.5 * (target - 0.5) ** 2)
    assert estimate == 0.5


def test_weights_scale_the_loss_of_each_step() -> None:
    agent = dqn_agent(decision_maker=Linear)
    learner, maker = learner_of(agent), agent.network.decision_maker
    assert isinstance(maker, Linear)
    eye = torch.eye(4)
    batch = batch_of(
        observations=eye,
        actions=torch.zeros(4, dtype=torch.int64),
        returns=torch.arange(4.0),
        discounts=torch.zeros(4),
        next_observations=eye,
        weights=torch.tensor([1.0, 1.0, 0.0, 0.5]),
        indices=torch.arange(4),
    )
    loss, *_ = learner._step(batch).tolist()
    assert loss == pytest.approx(0.5 * (1 + 0.5 * 9))
    assert maker.weight[2, 0] == 0  # its error of 2 weighs nothing
    assert maker.weight[3, 0] > 0


def test_c51_splits_what_it_aims_at_between_the_values_next_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    support = torch.linspace(-2, 3, 11)
    probabilities = torch.rand(50, 11, generator=generator).softmax(1)
    returns = torch.randn(50, 1, generator=generator) * 2
    discounts = torch.rand(50, 1, generator=generator)
    discounts[::5] = 0.0  # terminated
    returns[10] = 1.5  # exactly on a value
    found = project(support, probabilities, returns, discounts)
    expected = torch.zeros_like(found)
    for row in range(50):
        for atom in range(11):
            value = float(returns[row] + discounts[row] * support[atom])
            place = min(max((value + 2) / 0.5, 0.0), 10.0)
            for neighbour in (int(place), min(int(place) + 1, 10)):
                share = max(0.0, 1 - abs(place - neighbour))
                expected[row, neighbour] += probabilities[row, atom] * share
            if int(place) == 10:
                expected[row, 10] -= probabilities[row, atom]  # was counted twice
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found[10, 7] == pytest.approx(1.0)
    inside = (returns + discounts * 3 <= 3) & (returns - discounts * 2 >= -2)
    mean = returns + discounts * (probabilities @ support)[:, None]
    torch.testing.assert_close((found @ support)[inside[:, 0]], mean[inside])


def test_the_quantile_loss_is_that_of_the_paper_and_smallest_at_the_quantiles() -> None:
    generator = torch.Generator().manual_seed(0)
    quantiles = torch.randn(3, 4, generator=generator)
    targets = torch.randn(3, 5, generator=generator) * 2
    for row, found in enumerate(quantile_huber_loss(quantiles, targets).tolist()):
        expected = 0.0
        for i in range(4):
            for target in targets[row].tolist():
                error = target - float(quantiles[row, i])
                huber = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
                expected += abs((i + 0.5) / 4 - (error < 0)) * huber / 5
        assert found == pytest.approx(expected, rel=1e-5)
    # Of samples far apart, where the loss is nearly linear, the minimum is at their quantiles.
    samples = torch.linspace(0, 1000, 1001)[None]
    guess = torch.full((1, 2), 400.0, requires_grad=True)
    for _ in range(400):
        (gradient,) = torch.autograd.grad(quantile_huber_loss(guess, samples).sum(), guess)
        guess = (guess - 50 * gradient).detach().requires_grad_()
    torch.testing.assert_close(guess.detach(), torch.tensor([[250.0, 750.0]]), atol=30, rtol=0)


def test_dueling_branches_give_the_state_its_value_and_actions_their_advantages() -> None:
    torch.manual_seed(0)
    network = QNetwork(3, 4, [16, 8], dueling=True, atoms=2)
    features = torch.randn(5, 3)
    outputs = network.outputs(features)
    assert outputs.shape == (5, 4, 2)
    torch.testing.assert_close(outputs.mean(1), network.value_branch(network.trunk(features)))
    assert network.value_branch[0].in_features == 16
    assert float(outputs.detach().std(1).min()) > 0


def test_gradient_steps_and_target_networks_follow_the_count_of_environment_steps() -> None:
    agent = dqn_agent(
        hyperparameters={
            "horizon": 4,
            "learning_starts": 100,
            "replay_ratio": 0.1,
            "target_interval": 150,
            "exploration_steps": 320,
            "final_epsilon": 0.25,
        }
    )
    learner = learner_of(agent)
    collector = Collector(Environment().make_batch(8), agent, learner, 0)
    steps = 0
    take, count = learner._step, [0]

    def counted(batch: Transitions) -> torch.Tensor:
        count[0] += 1
        return take(batch)

    learner._step = counted  # type: ignore[method-assign]
    for _ in range(12):
        rollout, _ = collector.collect()
        before, steps = learner._target.values.clone(), steps + 32
        done = count[0]
        metrics = learner.learn(rollout)
        assert count[0] - done == (0 if steps < 100 else int(steps / 10) - int((steps - 32) / 10))
        assert ("loss" in metrics) == (steps >= 100)
        renewed = not torch.equal(before, learner._target.values)
        assert renewed == (steps in (160, 320))
        assert torch.equal(learner._target.values, learner._optimiser.values) == (
            steps in (32, 64, 96, 160, 320)
        )
        assert metrics["epsilon"] == pytest.approx(max(0.25, 1 - 0.75 * steps / 320))
    noise = learner.noise(1, 4000, torch.Generator().manual_seed(0))[0]
    shown = torch.zeros(4000, 4)
    best = agent.network.greedy_actions(shown[:1])
    random = learner.act(shown, noise) != best
    assert float(random.float().mean()) == pytest.approx(0.25 / 2, abs=0.02)


class Choices(gymnasium.Env[Any, Any]):
    """One step an episode; right is the action that is shown."""

    observation_space = spaces.Discrete(3)
    action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.shown = int(self.np_random.integers(3))
        return self.shown, {}

    def step(self, action: Any) -> Any:
        return 0, float(action == self.shown), True, False, {}


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"double": False, "n_step": 1, "dueling": True},
        {"prioritised_replay": True, "normalise_observations": True},
        {"distribution": "C51", "value_range": [-2, 2]},
        {"distribution": "QuantileRegression", "prioritised_replay": True, "dueling": True},
    ],
    ids=str,
)
def test_every_variant_learns(switches: dict[str, Any]) -> None:
    environment = Environment(Choices)
    agent = Agent(
        environment.action_space,
        algorithm="DQN",
        hyperparameters={
            "learning_starts": 200,
            "exploration_steps": 500,
            "hidden_sizes": [32],
            "atoms": 21,
            **switches,
        },
    )
    trainer = Trainer(environment, agent, max_steps=1000, progress=False)
    assert trainer.train().evaluation.reward_mean >= 0.95


@pytest.mark.parametrize(
    ("values", "spoil", "text"),
    [
        ({}, lambda r, _: r.rewards.fill_(float("nan")), "rewards from the environment"),
        (
            {},
            lambda _, a: a.network.decision_maker.action_branch[2].weight.data.fill_(np.nan),
            r"parameter decision_maker\.action_branch\.2\.weight",
        ),
        (
            {"distribution": "C51", "dueling": True},
            lambda _, a: a.network.decision_maker.trunk[0].bias.data.fill_(np.inf),
            r"parameter decision_maker\.trunk\.0\.bias",
        ),
    ],
)
def test_what_is_not_finite_stops_training_and_is_named(
    values: dict[str, Any], spoil: Callable[..., Any], text: str
) -> None:
    agent = dqn_agent(hyperparameters={"learning_starts": 0, **values})
    learner = learner_of(agent)
    rollout, _ = Collector(Environment().make_batch(8), agent, learner, 0).collect()
    spoil(rollout, agent)
    with pytest.raises(NonFiniteError, match=text):
        learner.learn(rollout)


def test_what_dqn_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"DQN can't act in a space MultiDiscrete; it can in Disc"):
        Agent(spaces.MultiDiscrete([2, 2]), algorithm="DQN")
    with pytest.raises(InputError, match=r"; PPO.* can in MultiBinary"):
        Agent(spaces.MultiBinary(2), algorithm="DQN")
    own = dqn_agent(decision_maker=Linear, hyperparameters={"distribution": "C51"})
    with pytest.raises(InputError, match=r"own decision maker .* leave dueling and distribution"):
        learner_of(own)
    for name, (value, text) in {
        "valueRange": ([1, 1], r"valueRange must be \[smallest, largest\]"),
        "distribution": ("IQN", "'None', 'C51' or 'QuantileRegression'"),
        "nStep": (0, "nStep: input should be greater than or equal to 1"),
    }.items():
        with pytest.raises(ValueError, match=text):
            validate_hyperparameters(Algorithm.DQN, {name: value})
