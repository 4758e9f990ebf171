"""SAC: its actions and their densities, what it aims at, and what it refuses."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.distributions import Normal

from lepton import Agent, Environment, InputError, Trainer
from lepton.agents.actuator import GaussianActuator, SquashedGaussianActuator
from lepton.algorithms.critics import Critics
from lepton.algorithms.learner import Workplace
from lepton.algorithms.replay import Transitions
from lepton.algorithms.sac import SAC
from lepton.errors import NonFiniteError
from lepton.spec.hyperparameters.base import Activation
from lepton.training.collector import Collector

BOX = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


def sac_agent(**arguments: Any) -> Agent:
    return Agent(BOX, spaces.Box(-1, 1, (3,)), algorithm="SAC", **arguments)


def learner_of(agent: Agent) -> SAC:
    return SAC(agent.network, agent.hyperparameters, Workplace())


def batch_of(count: int) -> Transitions:
    generator = torch.Generator().manual_seed(0)
    return Transitions(
        observations=torch.randn(count, 3, generator=generator),
        actions=torch.rand(count, 2, generator=generator) * 2 - 1,
        returns=torch.randn(count, generator=generator),
        discounts=0.9 * (torch.rand(count, generator=generator) < 0.8),
        next_observations=torch.randn(count, 3, generator=generator),
        weights=torch.ones(count),
        indices=torch.arange(count),
    )


def test_squashed_actions_lie_within_the_space_with_their_densities() -> None:
    actuator = SquashedGaussianActuator(BOX)
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(50, 4, generator=generator).clamp(-2, 2)
    noise = actuator.noise(50, generator=generator)
    actions, found = actuator.sample_with_log_probability(parameters, noise)
    assert torch.equal(actions, actuator.sample(parameters, noise))
    for action in actuator.to_environment(actions):
        assert BOX.contains(action)
    wide = parameters.double()
    normal = Normal(wide[:, :2], wide[:, 2:].exp())
    before = wide[:, :2] + noise * normal.scale
    expected = (normal.log_prob(before) - (1 - before.tanh() ** 2).log()).sum(1)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(actuator.mode(parameters), parameters[:, :2].tanh())
    # Far out, where the tangent is 1 in float32, densities are still numbers with gradients.
    far = torch.full((1, 4), 30.0, requires_grad=True)
    _, log_probability = actuator.sample_with_log_probability(far, noise[:1])
    log_probability.sum().backward()
    assert bool(log_probability.isfinite())
    assert bool(far.grad.isfinite().all())  # type: ignore[union-attr]


def test_critics_are_two_networks_of_linear_layers_whose_smaller_value_counts() -> None:
    torch.manual_seed(0)
    critics = Critics(torch.nn.Identity(), 3, 2, [8, 6], Activation.RELU)
    batch = batch_of(5)
    found = critics(batch.observations, batch.actions)
    for member in range(2):
        values = torch.cat([batch.observations, batch.actions], 1)
        for layer in range(3):
            values = values @ critics.weights[layer][member] + critics.biases[layer][member]
            values = values.relu() if layer < 2 else values
        torch.testing.assert_close(found[member], values[:, 0])
    assert not torch.equal(found[0], found[1])
    actions = batch.actions.clone().requires_grad_()
    critics(batch.observations, actions, frozen=True).sum().backward()
    assert actions.grad is not None
    assert all(parameter.grad is None for parameter in critics.parameters())


def test_losses_are_those_of_the_paper() -> None:
    agent = sac_agent(hyperparameters={"initial_temperature": 0.3, "target_rate": 0.1})
    learner, batch = learner_of(agent), batch_of(16)
    with torch.no_grad():
        learner._target.values.mul_(0.5)  # not what the critics say
        for parameter in agent.network.parameters():
            parameter.add_(0.01)
    before = learner._generator.get_state()
    noise = learner._actuator.noise(2, 16, generator=learner._generator)
    learner._generator.set_state(before)
    actuator, network, critics = learner._actuator, agent.network, learner._critics
    following, log_following = actuator.sample_with_log_probability(
        network.policy(batch.next_observations), noise[0]
    )
    future = learner._target.network(batch.next_observations, following).amin(0)
    target = batch.returns + batch.discounts * (future - 0.3 * log_following)
    predicted = critics(batch.observations, batch.actions)
    critic_loss = 0.5 * (predicted - target).square().sum()
    actions, log_probability = actuator.sample_with_log_probability(
        network.policy(batch.observations), noise[1]
    )
    old_target = learner._target.values.clone()
    found = learner._step(batch).tolist()
    worth = critics(batch.observations, actions).amin(0)  # the critics have learned by then
    assert found == pytest.approx(
        [
            float(critic_loss.detach()),
            float((0.3 * log_probability - worth).sum().detach()),
            float(worth.sum().detach()),
            -float(log_probability.sum().detach()),
        ],
        rel=1e-4,
    )
    torch.testing.assert_close(
        learner._target.values, old_target.lerp(learner._critic_optimiser.values, 0.1)
    )
    # More random than it is to be (entropy above -2): the temperature falls.
    assert float(-log_probability.mean().detach()) > -2
    assert learner._actor.log_temperature.exp() < 0.3


def test_actions_are_spread_evenly_until_learning_starts() -> None:
    agent = sac_agent(hyperparameters={"learning_starts": 10})
    learner = learner_of(agent)
    observations = torch.zeros(20_000, 3)
    noise = learner.noise(1, 20_000, torch.Generator().manual_seed(0))[0]
    counts = learner.act(observations, noise)[:, 0].histc(10, -1, 1) / 20_000
    torch.testing.assert_close(counts, torch.full((10,), 0.1), atol=0.01, rtol=0)
    learner._steps = 10
    expected = agent.network.actuator.sample(agent.network.policy(observations), noise)
    assert torch.equal(learner.act(observations, noise), expected)


class Aim(gymnasium.Env[Any, Any]):
    """One step an episode; the reward is how near the action comes to what is shown."""

    observation_space = spaces.Box(0, 5, (1,))
    action_space = spaces.Box(-2, 6, (1,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.shown = self.np_random.uniform(0, 5, 1).astype(np.float32)
        return self.shown, {}

    def step(self, action: Any) -> Any:
        return self.shown, -float(np.square(action - self.shown).sum()), True, False, {}


def test_it_learns_to_aim() -> None:
    environment = Environment(Aim)
    agent = Agent(
        environment.action_space,
        algorithm="SAC",
        hyperparameters={
            "learning_starts": 300,
            "hidden_sizes": [32],
            "learning_rate": 0.005,
            "normalise_observations": True,
        },
    )
    result = Trainer(environment, agent, max_steps=1500, progress=False).train()
    assert result.evaluation.reward_mean > -0.2  # at random -7.5
    assert result.metrics["temperature"] < 1


def test_what_is_not_finite_stops_training_and_is_named() -> None:
    environment = Environment("Pendulum-v1")
    for spoiled, text in {
        "critic": "parameter weights.1",
        "policy": "the policy's output",
        "reward": "rewards from the environment",
    }.items():
        agent = Agent(
            environment.action_space,
            environment.observation_space,
            algorithm="SAC",
            hyperparameters={"learning_starts": 0},
        )
        learner = learner_of(agent)
        rollout, _ = Collector(environment.make_batch(2), agent, learner, 0).collect()
        with torch.no_grad():
            match spoiled:
                case "critic":
                    learner._critics.weights[1].fill_(np.nan)
                case "policy":
                    agent.network.decision_maker.policy_network[0].bias.fill_(np.nan)  # type: ignore
                case "reward":
                    rollout.rewards[0, 0] = np.nan
        with pytest.raises(NonFiniteError, match=text):
            learner.learn(rollout)


def test_what_sac_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"SAC can't act in a space Discrete; it can in Box; PPO"):
        Agent(spaces.Discrete(2), algorithm="SAC")
    with pytest.raises(InputError, match=r"have no bounds to be squashed into; bound them, or use"):
        Agent(spaces.Box(-np.inf, np.inf, (2,)), algorithm="SAC")
    with pytest.raises(InputError, match="SAC needs an actuator that is a SquashedGaussian"):
        learner_of(sac_agent(actuator=GaussianActuator))
