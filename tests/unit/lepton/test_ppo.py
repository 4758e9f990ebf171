"""PPO: advantages, autoreset modes, what it learns from, and how it refuses to go on."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from lepton import Agent, Environment
from lepton.algorithms.learner import Workplace
from lepton.algorithms.ppo import PPO, generalised_advantages
from lepton.algorithms.rollout import Rollout
from lepton.errors import NonFiniteError
from lepton.training.collector import Collector


def test_advantages_are_sums_of_discounted_errors_that_stop_at_the_end_of_an_episode() -> None:
    generator = torch.Generator().manual_seed(0)
    steps, count, gamma, weight = 12, 4, 0.9, 0.8
    rewards, values, following = (torch.randn(steps, count, generator=generator) for _ in "123")
    terminated = torch.rand(steps, count, generator=generator) < 0.15
    done = terminated | (torch.rand(steps, count, generator=generator) < 0.15)
    found = generalised_advantages(rewards, values, following, terminated, done, gamma, weight)
    for column in range(count):
        for begin in range(steps):
            total, factor = 0.0, 1.0
            for t in range(begin, steps):
                future = 0.0 if terminated[t, column] else float(following[t, column])
                error = float(rewards[t, column]) + gamma * future - float(values[t, column])
                total += factor * error
                if done[t, column]:
                    break
                factor *= gamma * weight
            assert found[begin, column].item() == pytest.approx(total, abs=1e-5)


class Countdown(gymnasium.Env[Any, Any]):
    """Shows how many steps the episode has had, as a number far from those of other episodes.

    Every episode has three steps with reward 1; it is truncated or terminated, as asked."""

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


class ObservationIsTheValue(torch.nn.Module):
    """A decision maker whose value of an observation is the observation."""

    def __init__(self, feature_size: int, distribution_size: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(distribution_size))

    def policy(self, features: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(features), -1)

    def value(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, 0]


def learner_of(agent: Agent) -> PPO:
    return PPO(agent.network, agent.hyperparameters, Workplace())


def targets_by_observation(mode: AutoresetMode, truncates: bool) -> dict[float, float]:
    """What each observation's value is to become, with one-step returns."""
    environment = SyncVectorEnv([lambda: Countdown(truncates)], autoreset_mode=mode)
    agent = Agent(
        Countdown.action_space,
        Countdown.observation_space,
        decision_maker=ObservationIsTheValue,
        hyperparameters={
            "gae_lambda": 0.0,
            "gamma": 1.0,
            "horizon": 11,
            "normalise_advantages": False,
        },
    )
    learner = learner_of(agent)
    rollout, episodes = Collector(environment, agent, learner, 0).collect()
    (observations, _, _, _, targets), _ = learner._batch(rollout)
    assert episodes.steps == len(observations)
    assert set(episodes.scores) == {3.0}
    assert set(episodes.lengths) == {3}
    return dict(zip(observations[:, 0].tolist(), targets.tolist(), strict=True))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_truncated_episodes_are_bootstrapped_with_what_they_ended_with(
    mode: AutoresetMode,
) -> None:
    found = targets_by_observation(mode, truncates=True)
    # Reward 1 and the value of the next observation, which is one more, of the same episode.
    # Were the modes confused, 12 would lead to 20 (the next episode), or 13, which is no
    # observation to act on, would be learned from.
    assert {12.0, 22.0} < set(found)
    assert not {13.0, 23.0} & set(found)
    for observation, target in found.items():
        assert target == observation + 2


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_terminated_episodes_have_no_future(mode: AutoresetMode) -> None:
    found = targets_by_observation(mode, truncates=False)
    assert {12.0, 22.0} < set(found)
    assert not {13.0, 23.0} & set(found)
    for observation, target in found.items():
        assert target == (1.0 if observation % 10 == 2 else observation + 2)


def test_a_mode_told_wrongly_gives_other_targets() -> None:
    class Lying(SyncVectorEnv):
        def __init__(self) -> None:
            super().__init__([lambda: Countdown(True)], autoreset_mode=AutoresetMode.NEXT_STEP)
            self.metadata["autoreset_mode"] = AutoresetMode.SAME_STEP

        def step(self, actions: Any) -> Any:
            *rest, info = super().step(actions)
            info["final_obs"] = np.array([np.zeros(1, np.float32)], object)
            return *rest, info

    agent = Agent(
        Countdown.action_space, Countdown.observation_space, decision_maker=ObservationIsTheValue
    )
    rollout, episodes = Collector(Lying(), agent, learner_of(agent), 0).collect()
    assert 13.0 in rollout.observations[rollout.valid.nonzero()[:, 0]].flatten().tolist()
    assert set(episodes.lengths) != {3}


def rollout_of(agent: Agent, count: int = 8) -> Rollout:
    environment = Environment().make_batch(count)
    return Collector(environment, agent, learner_of(agent), 0).collect()[0]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda r, _: r.rewards.fill_(float("nan")), "rewards from the environment"),
        (lambda r, _: r.observations[3].fill_(float("inf")), "observations from the environment"),
        (
            lambda _, a: a.network.decision_maker.policy_network[2].weight.data.fill_(np.nan),
            r"parameter decision_maker\.policy_network\.2\.weight",
        ),
    ],
)
def test_what_is_not_finite_stops_training_and_is_named(spoil: Any, text: str) -> None:
    environment = Environment()
    agent = Agent(environment.action_space, environment.observation_space)
    rollout = rollout_of(agent)
    learner = learner_of(agent)
    spoil(rollout, agent)
    with pytest.raises(NonFiniteError, match=text):
        learner.learn(rollout)


@pytest.mark.parametrize("bonus", [0.1, 0.0])
@pytest.mark.parametrize("space", [Discrete(3), Box(-1.0, 1.0, (2,))], ids=str)
def test_the_derivatives_that_are_written_out_are_those_of_the_clipped_objective(
    space: gymnasium.Space[Any], bonus: float
) -> None:
    torch.manual_seed(0)
    settings = {"max_gradient_norm": 0.0, "entropy_coefficient": bonus, "value_coefficient": 0.7}
    agent = Agent(space, Box(-1.0, 1.0, (5,)), hyperparameters=settings)
    network, count, clip = agent.network, 64, 0.2
    learner = PPO(network, agent.hyperparameters, Workplace(environments=count))  # type: ignore[arg-type]
    observations, advantages, targets = (torch.randn(count, n).squeeze() for n in (5, 1, 1))
    with torch.no_grad():
        parameters = network.policy(observations)
        noise = network.actuator.noise(count, generator=torch.Generator().manual_seed(1))
        actions = network.actuator.sample(parameters, noise)
        likely, _ = network.actuator.log_probability_and_entropy(parameters, actions)
    # Far enough away that about half of the ratios lie outside of the clip range.
    before = likely + 0.3 * torch.randn(count)

    parameters, predicted = network.policy_and_value(observations)
    likely, entropy = network.actuator.log_probability_and_entropy(parameters, actions)
    ratio = (likely - before).exp()
    objective = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    errors = 0.5 * (predicted - targets).square()
    loss = (-objective + 0.7 * errors - bonus * entropy).mean()
    expected = torch.autograd.grad(loss, list(network.parameters()))

    learner._step((observations, actions, before, advantages, targets), 0.0, watched=False)
    for found, parameter in zip(expected, network.parameters(), strict=True):
        assert torch.allclose(parameter.grad, found, rtol=1e-4, atol=1e-7)  # type: ignore[arg-type]


def test_the_optimiser_takes_the_steps_of_torchs_adam() -> None:
    from lepton.algorithms.flat import Adam, FlatParameters

    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    flat = FlatParameters(ours)
    adam = Adam(flat)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-5)
    for _ in range(20):
        data = torch.randn(8, 5)
        flat.gradients_and_count.zero_()
        ours(data).square().sum().backward()
        adam.step(0.01)
        reference.zero_grad()
        theirs(data).square().sum().backward()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_target_kl_ends_an_update_early_and_the_learning_rate_can_fall() -> None:
    environment = Environment()
    moved = []
    for values in ({}, {"target_kl": 1e-9}):
        agent = Agent(
            environment.action_space,
            environment.observation_space,
            hyperparameters={**values, "anneal_learning_rate": True},
        )
        before = torch.cat([p.detach().flatten() for p in agent.network.parameters()])
        rollout = rollout_of(agent)
        metrics = learner_of(agent).learn(rollout, progress=0.25)
        assert metrics["learning_rate"] == pytest.approx(0.75e-3)
        after = torch.cat([p.detach().flatten() for p in agent.network.parameters()])
        moved.append((after - before).norm().item())
    assert moved[1] < moved[0] / 2


def test_normalisers_measure_what_was_seen_and_travel_with_the_model() -> None:
    environment = Environment()
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        hyperparameters={"normalise_observations": True, "normalise_rewards": True},
    )
    learner = learner_of(agent)
    collector = Collector(environment.make_batch(8), agent, learner, 0)
    seen = []
    for _ in range(3):
        rollout, _ = collector.collect()
        learner.learn(rollout)
        seen.append(rollout.observations[:-1].flatten(0, 1).double())
    state = agent.network.state_dict()
    everything = torch.cat(seen)
    torch.testing.assert_close(state["perceptor.moments.mean"], everything.mean(0))
    torch.testing.assert_close(
        state["perceptor.moments.variance"], everything.var(0, unbiased=False)
    )
    assert state["return_moments.count"] == len(everything)
    assert state["return_moments.variance"] > 1


def test_returns_of_episodes_under_way_go_on_where_the_learner_is() -> None:
    environment = Environment()
    agent = Agent(
        environment.action_space,
        environment.observation_space,
        hyperparameters={"normalise_rewards": True},
    )
    learner = learner_of(agent)
    learner.learn(rollout_of(agent))
    state, worker_state = learner.state(), learner.worker_state()
    # A checkpoint gives all on the CPU; torch's device without values stands in for a GPU.
    learner._device = torch.device("meta")
    learner.restore(state, worker_state, None)
    assert worker_state["discounted_returns"].device.type == "cpu"
    assert learner.worker_state()["discounted_returns"].device.type == "meta"
