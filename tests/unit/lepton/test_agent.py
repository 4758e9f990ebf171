"""Agents: their three parts, their actions, and their files."""

import json
import math
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
from lepton.agents.files import save_model
from lepton.spec import Algorithm
from lepton.spec.hyperparameters.ppo import PPOHyperparameters

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
        ({"algorithm": "Foo"}, "algorithm Foo is unknown; there are PPO, PQN, DQN, SAC, QLearning"),
        ({"algorithm": "ppo"}, r"algorithm ppo is unknown \(did you mean PPO\?\); there are PPO"),
        ({"algorithm": None}, "algorithm None is unknown; there are PPO"),
        ({"hyperparameters": {"lr": 1}}, "lr is unknown to PPO"),
        ({"hyperparameters": [1]}, r"hyperparameters are names and values, .* not \[1\]"),
        (
            {"hyperparameters": PPOHyperparameters(), "algorithm": "DQN"},
            "PPOHyperparameters are not those of DQN, which takes DQNHyperparameters",
        ),
        ({"reward_threshold": "a"}, "reward_threshold must be a finite number, not 'a'"),
        ({"reward_threshold": float("nan")}, "reward_threshold must be a finite number, not nan"),
        (
            {"observation_space": spaces.Discrete(2), "seed": "a"},
            "seed must be a whole number from 0 to 4294967295, not 'a'",
        ),
        ({"observation_space": spaces.Box(-1, 1, (0,))}, "hold no numbers to learn from"),
        ({"observation_space": spaces.Text(3)}, "Text can't be learned from"),
    ],
)
def test_what_an_agent_cannot_be_is_refused_at_once(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Agent(**{"action_space": spaces.Discrete(2), **arguments})


def test_an_agent_without_networks_says_where_they_come_from(tmp_path: Path) -> None:
    agent = Agent(spaces.Discrete(2))
    path = tmp_path / "agent.pth"
    for use in (lambda: agent.act(np.zeros(3)), lambda: agent.save_model(path)):
        with pytest.raises(InputError, match="no networks yet: give it to a Trainer"):
            use()
    assert not path.exists()


NESTED = spaces.Dict({"place": spaces.Discrete(4), "view": spaces.Tuple([spaces.Box(-1, 1, (2,))])})


@pytest.mark.parametrize(
    ("space", "observation", "text"),
    [
        (spaces.Box(-1, 1, (4,)), np.zeros(5), r"has shape \(5,\), where .* has \(4,\)"),
        (spaces.Box(-1, 1, (4,)), np.zeros((1, 4)), r"has shape \(1, 4\)"),
        (spaces.Box(-1, 1, (4,)), "left", "is 'left', where .* holds numbers"),
        (spaces.Discrete(4), 4, r"is 4, which is not in Discrete\(4\)"),
        (spaces.Discrete(4, start=1), 0, "is 0, which is not in"),
        (spaces.MultiDiscrete([2, 3]), [1, 3], r"is \[1, 3\], which is not in"),
        (spaces.MultiBinary(2), [0, 2], r"is \[0, 2\], which is not in"),
        (NESTED, {"place": 1}, r"is \['place'\], where the space is a Dict of \['place', 'view'\]"),
        (
            NESTED,
            {"place": 1, "view": ()},
            r"has a part 'view' that is \(\), where .* a Tuple of 1",
        ),
        (
            NESTED,
            {"place": 1, "view": (np.zeros(3),)},
            r"has a part 'view' that has a part 0 that has shape \(3,\)",
        ),
    ],
    ids=str,
)
def test_an_observation_that_does_not_fit_is_told_by_what_differs(
    space: spaces.Space[Any], observation: Any, text: str
) -> None:
    agent = Agent(spaces.Discrete(2), space)
    with pytest.raises(InputError, match=f"the agent can't act on this: the observation .*{text}"):
        agent.act(observation)
    assert agent.act(space.sample()) in (0, 1)


def test_flattened_observations_of_another_size_are_refused() -> None:
    agent = Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)))
    with pytest.raises(InputError, match=r"have shape \(n, 4\), not \(3, 5\)"):
        agent.act_on_batch(torch.zeros(3, 5))


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
    agent.environment = {"name": "own:Task", "parameters": {"limit": math.inf, "sizes": [1, 2.5]}}
    moments = agent.network.perceptor.moments
    moments.mean.add_(0.3)  # type: ignore[union-attr, operator]
    path = tmp_path / f"agent{suffix}"
    digest = agent.save_model(path)
    assert digest == agent.save_model(tmp_path / f"again{suffix}")
    loaded = Agent.load_model(path)
    assert loaded.algorithm == algorithm
    assert loaded.reward_threshold == 100
    assert loaded.environment == agent.environment
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
    good = torch.load("good.pth", weights_only=True)
    Path("truncated.pth").write_bytes(Path("good.pth").read_bytes()[:3000])
    Path("truncated.safetensors").write_bytes(Path("good.safetensors").read_bytes()[:500])
    Path("pickle.pth").write_bytes(pickle.dumps(Malicious()))
    torch.save({"code": Malicious()}, "code.pth")
    torch.save({"weight": torch.zeros(3)}, "foreign.pth")
    torch.save(good | {"extra": 3}, "extra.pth")
    torch.save(good | {"state_dict": {1: torch.zeros(3)}}, "numbers.pth")
    torch.save(good | {"state_dict": {"sparse": torch.zeros(3).to_sparse()}}, "sparse.pth")
    Path("text.pth").write_text("hello")
    Path("folder.pth").mkdir()
    Path("folder.safetensors").mkdir()
    unread = "damaged or holds more than weights, so it is not loaded$"
    refused = {
        "truncated.pth": unread,
        "truncated.safetensors": "is damaged",
        "pickle.pth": unread,
        "code.pth": unread,
        "text.pth": unread,
        "foreign.pth": "not made by lepton",
        "extra.pth": "holds something else than a header and weights",
        "numbers.pth": "holds something else than a header and weights",
        "sparse.pth": "holds something else than a header and weights",
        "folder.pth": "can't read model file folder.pth: Is a directory",
        "folder.safetensors": "can't read model file folder.safetensors",
        "missing.pth": "does not exist",
    }
    for name, text in refused.items():
        with pytest.raises(InputError, match=text) as raised:
            Agent.load_model(name)
        assert "weights_only" not in str(raised.value)
    assert not Path("owned").exists()
    with pytest.raises(InputError, match=r"must end in \.pth, \.safetensors or \.onnx"):
        agent.save_model("agent.pt")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_with_a_flipped_byte_is_refused_or_gives_back_what_was_saved(
    tmp_path: Path, suffix: str
) -> None:
    agent = Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)), hyperparameters={"hiddenSizes": [8]})
    path = tmp_path / f"agent{suffix}"
    agent.save_model(path)
    good, saved = path.read_bytes(), agent.network.state_dict()
    weights = max(saved.values(), key=Tensor.numel).numpy().tobytes()
    counts = {good.index(weights) + 5, good.index(b"learningRate") + 15}
    for place in counts | set(range(0, len(good), 97)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        try:
            loaded = Agent.load_model(path)
        except InputError:
            continue
        assert place not in counts
        assert loaded.hyperparameters == agent.hyperparameters
        for name, tensor in loaded.network.state_dict().items():
            assert torch.equal(tensor, saved[name]), place


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("not json", "a header that is no JSON object"),
        ("[" * 100_000, "a header that is no JSON object"),
        ([], "a header that is no JSON object"),
        ({"format": 1}, "has format 1, made by 'lepton .*'; this is lepton .* reads format 2"),
        ({"format": 3, "unheardOf": 1}, "has format 3, made by"),
        ({"actionSpace": ...}, "did not write: 'actionSpace': Field required"),
        ({"environment": "x"}, "did not write: 'environment': "),
        ({"environment": {"name": 5, "parameters": {}}}, "did not write: 'environment.name': "),
        ({"environment": {"name": "x"}}, "did not write: 'environment.parameters': "),
        (
            {"environment": {"name": "x\x1b[2J", "parameters": {}}},
            "'environment.name': .*can't be printed",
        ),
        (
            {"environment": {"name": "x", "parameters": {"source": "os:system"}}},
            "'environment.parameters': .*no environment has a parameter source",
        ),
        ({"ownParts": {"x": "y"}}, "did not write: 'ownParts.x.*'"),
        ({"algorithm": "Magic"}, "did not write: 'algorithm': "),
        ({"extra": 1}, "did not write: 'extra': "),
        ({"rewardThreshold": 7}, r"is damaged: it does not hold what was saved \(the SHA-256"),
        ({"sha256": ...}, r"is damaged: it does not hold what was saved \(the SHA-256"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_header_that_lepton_did_not_write_is_refused(
    tmp_path: Path, change: Any, text: str
) -> None:
    agent = Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)))
    agent.save_model(tmp_path / "agent.pth")
    content = torch.load(tmp_path / "agent.pth", weights_only=True)
    if isinstance(change, dict):
        header = json.loads(content["lepton"]) | change
        change = {name: value for name, value in header.items() if value is not ...}
    content["lepton"] = change if isinstance(change, str) else json.dumps(change)
    torch.save(content, tmp_path / "agent.pth")
    with pytest.raises(InputError, match=text):
        Agent.load_model(tmp_path / "agent.pth")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"action_space": {"type": "Foo"}}, "space of unknown type 'Foo'"),
        ({"action_space": {}}, r"describes no space \(KeyError: 'type'\)"),
        ({"action_space": {"type": "Discrete", "n": 0, "start": 0}}, "describes no space"),
        ({"observation_space": {"type": "Tuple", "spaces": [3]}}, "describes no space"),
        ({"hyperparameters": {"foo": 1}}, "agent.pth: hyperparameter foo is unknown to PPO"),
        ({"hyperparameters": {"hiddenSizes": [8]}}, "does not fit its own header"),
    ],
    ids=str,
)
def test_a_header_of_what_cannot_be_is_refused(
    tmp_path: Path, change: dict[str, Any], text: str
) -> None:
    agent = Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)))
    header = agent._header().model_copy(update=change)
    save_model(tmp_path / "agent.pth", header, agent.network)
    with pytest.raises(InputError, match=text):
        Agent.load_model(tmp_path / "agent.pth")
