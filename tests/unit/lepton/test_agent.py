"""Agents: their three parts, their actions, and their files."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

from lepton import Agent, InputError
from lepton.agents.actuator import CategoricalActuator
from lepton.agents.blueprints import make_actuator
from lepton.spec import Algorithm

ACTION_SPACES: list[spaces.Space[Any]] = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete([[2, 3], [3, 2]]),
    spaces.MultiBinary(3),
    spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 10.0]), dtype=np.float32),
    spaces.Box(-np.inf, np.inf, (2,)),
]


@pytest.mark.parametrize("space", ACTION_SPACES, ids=str)
def test_every_action_lies_within_the_space(space: spaces.Space[Any]) -> None:
    actuator = make_actuator(Algorithm.PPO, space)
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(50, actuator.distribution_size, generator=generator) * 3
    noise = actuator.noise(50, generator=generator)
    for actions in (actuator.sample(parameters, noise), actuator.mode(parameters)):
        for action in actuator.to_environment(actions):
            assert space.contains(action)


def test_log_probabilities_and_entropies_are_those_of_torchs_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 5, generator=generator)

    categorical = make_actuator(Algorithm.PPO, spaces.Discrete(5))
    actions = categorical.sample(logits, categorical.noise(20, generator=generator))
    found = categorical.log_probability_and_entropy(logits, actions)
    expected = Categorical(logits=logits)
    torch.testing.assert_close(found[0], expected.log_prob(actions))
    torch.testing.assert_close(found[1], expected.entropy())

    multi = make_actuator(Algorithm.PPO, spaces.MultiDiscrete([2, 3]))
    actions = multi.sample(logits, multi.noise(20, generator=generator))
    found = multi.log_probability_and_entropy(logits, actions)
    parts = [Categorical(logits=logits[:, :2]), Categorical(logits=logits[:, 2:])]
    torch.testing.assert_close(
        found[0], parts[0].log_prob(actions[:, 0]) + parts[1].log_prob(actions[:, 1])
    )
    torch.testing.assert_close(found[1], parts[0].entropy() + parts[1].entropy())

    gaussian = make_actuator(Algorithm.PPO, spaces.Box(-1, 1, (5,)))
    with torch.no_grad():
        gaussian.log_deviation.copy_(torch.linspace(-1, 0.5, 5))  # type: ignore[operator]
    actions = gaussian.sample(logits, gaussian.noise(20, generator=generator))
    found = gaussian.log_probability_and_entropy(logits, actions)
    normal = Independent(Normal(logits, gaussian.log_deviation.exp()), 1)  # type: ignore[operator]
    torch.testing.assert_close(found[0], normal.log_prob(actions))
    torch.testing.assert_close(found[1], normal.entropy())


def test_samples_follow_the_distribution() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]]).expand(40_000, 3)
    actuator = CategoricalActuator(spaces.Discrete(3))
    noise = actuator.noise(40_000, generator=torch.Generator().manual_seed(1))
    shares = actuator.sample(logits, noise).bincount() / 40_000
    torch.testing.assert_close(shares, logits[0].softmax(-1), atol=0.01, rtol=0)


def test_networks_are_built_when_the_observations_are_known() -> None:
    agent = Agent(action_space=spaces.Discrete(2))
    with pytest.raises(InputError, match="no networks yet: give it to a Trainer"):
        agent.network  # noqa: B018
    agent.bind(spaces.Box(-1, 1, (3,)))
    assert agent.act(np.zeros(3)) in (0, 1)
    with pytest.raises(InputError, match="was made for observations"):
        agent.bind(spaces.Box(-1, 1, (4,)))


def test_one_seed_makes_one_network_and_leaves_the_global_generator_alone() -> None:
    space = spaces.Box(-1, 1, (3,))
    before = torch.get_rng_state()
    one, same, other = (Agent(spaces.Discrete(2), space, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in a.network.parameters()]) for a in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"action_space": spaces.Text(3)}, "can't act in a space Text; it can in Discrete, Multi"),
        ({"action_space": spaces.Box(0, 9, (1,), np.int32)}, "dtype int32 are not supported"),
        ({"algorithm": "Foo"}, "'Foo' is not a valid Algorithm"),
        ({"hyperparameters": {"lr": 1}}, "lr is unknown to PPO"),
        ({"observation_space": spaces.Text(3)}, "Text can't be learned from"),
    ],
)
def test_what_an_agent_cannot_be_is_refused_at_once(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Agent(**{"action_space": spaces.Discrete(2), **arguments})


class OwnPerceptor(nn.Module):
    def __init__(self, observation_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(observation_size, 7)

    def forward(self, observations: Tensor) -> Tensor:
        return self.layer(observations).relu()  # type: ignore[no-any-return]


class OwnDecisionMaker(nn.Module):
    def __init__(self, feature_size: int, distribution_size: int) -> None:
        super().__init__()
        self.policy_layer = nn.Linear(feature_size, distribution_size)
        self.value_layer = nn.Linear(feature_size, 1)

    def policy(self, features: Tensor) -> Tensor:
        return self.policy_layer(features)  # type: ignore[no-any-return]

    def value(self, features: Tensor) -> Tensor:
        return self.value_layer(features).squeeze(-1)  # type: ignore[no-any-return]


class OwnActuator(CategoricalActuator):
    """Never takes the first action."""

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters[:, 1:].argmax(-1) + 1


def test_each_of_the_three_parts_can_be_replaced_and_is_asked_for_when_loading(
    tmp_path: Path,
) -> None:
    own: dict[str, Any] = {
        "perceptor": OwnPerceptor,
        "decision_maker": OwnDecisionMaker,
        "actuator": OwnActuator,
    }
    agent = Agent(spaces.Discrete(3), spaces.Box(-1, 1, (4,)), **own)
    assert agent.act(np.zeros(4)) in (1, 2)
    agent.save_model(tmp_path / "own.pth")
    with pytest.raises(InputError, match=r"own perceptor: pass perceptor=.*OwnPerceptor"):
        Agent.load_model(tmp_path / "own.pth")
    loaded = Agent.load_model(tmp_path / "own.pth", **own)
    observation = np.array([0.1, -0.3, 0.2, 0.9])
    assert loaded.act(observation) == agent.act(observation)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("algorithm", "action_space", "hyperparameters"),
    [
        ("PPO", spaces.Discrete(2), {}),
        ("DQN", spaces.Discrete(2), {"distribution": "C51", "dueling": True}),
        ("SAC", spaces.Box(-2, 2, (3,)), {}),
    ],
    ids=str,
)
def test_a_saved_agent_acts_the_same_when_loaded(
    tmp_path: Path,
    suffix: str,
    algorithm: str,
    action_space: spaces.Space[Any],
    hyperparameters: dict[str, Any],
) -> None:
    agent = Agent(
        action_space,
        spaces.Box(-1, 1, (4,)),
        algorithm=algorithm,
        reward_threshold=100,
        hyperparameters={"hidden_sizes": [16], "normalise_observations": True, **hyperparameters},
    )
    moments = agent.network.perceptor.moments
    moments.mean.add_(0.3)  # type: ignore[union-attr, operator]
    path = tmp_path / f"agent{suffix}"
    digest = agent.save_model(path)
    assert digest == agent.save_model(tmp_path / f"again{suffix}")
    loaded = Agent.load_model(path)
    assert loaded.algorithm == algorithm
    assert loaded.reward_threshold == 100
    assert loaded.hyperparameters == agent.hyperparameters
    assert type(loaded.hyperparameters) is type(agent.hyperparameters)
    observations = torch.randn(100, 4)
    assert np.array_equal(loaded.act_on_batch(observations), agent.act_on_batch(observations))
    for name, tensor in agent.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_that_others_wrote_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(InputError, match=r"foreign\.safetensors was not made by lepton"):
        Agent.load_model(path)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("owned"),))


def test_files_that_are_not_a_model_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    agent = Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)))
    agent.save_model("good.pth")
    agent.save_model("good.safetensors")
    Path("truncated.pth").write_bytes(Path("good.pth").read_bytes()[:3000])
    Path("truncated.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:500])
    Path("pickle.pth").write_bytes(pickle.dumps(Malicious()))
    torch.save({"code": Malicious()}, "code.pth")
    torch.save({"weight": torch.zeros(3)}, "foreign.pth")
    Path("text.pth").write_text("hello")
    refused = {
        "truncated.pth": "damaged or holds more than weights",
        "truncated.safetensors": "is damaged",
        "pickle.pth": "damaged or holds more than weights",
        "code.pth": "damaged or holds more than weights",
        "text.pth": "damaged or holds more than weights",
        "foreign.pth": "not made by lepton",
        "missing.pth": "does not exist",
    }
    for name, text in refused.items():
        with pytest.raises(InputError, match=text):
            Agent.load_model(name)
    assert not Path("owned").exists()
    with pytest.raises(InputError, match=r"must end in \.pth, \.safetensors or \.onnx"):
        agent.save_model("agent.pt")
