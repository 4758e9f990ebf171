"""Models as ONNX: another runtime takes the same actions, whatever the spaces and networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from lepton import Agent, InputError, Trainer
from lepton.agents.files import load_model
from lepton.environments.environment import Environment
from lepton.environments.spaces import batch_flatten
from lepton.errors import ExportError

SENSORS = spaces.Box(-3, 3, (4,), np.float32)
ACTION_SPACES: list[spaces.Space[Any]] = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete([[2, 3], [3, 2]], start=[[0, 1], [2, 3]]),
    spaces.MultiBinary([2, 2]),
    spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32)),
    spaces.Box(-1.0, 1.0, (2, 2), np.float64),
    spaces.Box(-np.inf, np.inf, (2,), np.float32),
]


def make(action_space: spaces.Space[Any], observation_space: Any = SENSORS, **own: Any) -> Agent:
    """An agent with an opinion: weights and moments far from those that it begins with."""
    normalises = "perceptor" not in own and own.get("algorithm") != "QLearning"
    hyperparameters = {"normaliseObservations": True} if normalises else {}
    hyperparameters |= own.pop("hyperparameters", {})
    agent = Agent(action_space, observation_space, hyperparameters=hyperparameters, **own)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in agent.network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.7)
        if normalises:
            moments: Any = agent.network.perceptor.moments
            moments.mean.copy_(torch.randn(moments.mean.shape, generator=generator))
            moments.variance.copy_(torch.rand(moments.variance.shape, generator=generator) * 4)
    return agent


def observe(space: spaces.Space[Any], count: int) -> Tensor:
    space.seed(1)
    rows = [spaces.flatten(space, space.sample()) for _ in range(count)]
    return torch.as_tensor(np.stack(rows), dtype=torch.float32)


def run(path: Path, observations: Tensor) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {"observation": observations.numpy()})
    return dict(zip(names, values, strict=True))


def assert_acts_alike(agent: Agent, path: Path, observations: Tensor) -> dict[str, Any]:
    for rows in (observations, observations[:1]):
        found, expected = run(path, rows), agent.act_on_batch(rows)
        action = found["action"]
        assert (action.dtype, action.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            (parameters,) = (value for name, value in found.items() if name != "action")
            expected = agent.network.policy(rows).numpy()
            # Small numbers may be the difference of large ones.
            tolerance = 1e-6 * max(10.0, abs(expected).max())
            np.testing.assert_allclose(parameters, expected, rtol=1e-5, atol=tolerance)
    assert len(np.unique(agent.act_on_batch(observations).round(3), axis=0)) > 1
    return run(path, observations)


@pytest.mark.parametrize("space", ACTION_SPACES, ids=str)
def test_onnxruntime_takes_the_agents_actions(
    tmp_path: Path,
    space: spaces.Space[Any],
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    agent = make(space)
    agent.save_model(tmp_path / "agent.onnx")
    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in recwarn] == []
    found = assert_acts_alike(agent, tmp_path / "agent.onnx", observe(SENSORS, 500))
    for action in found["action"]:
        assert space.contains(action)
    assert set(found) == {"action", "mean" if isinstance(space, spaces.Box) else "logits"}


PLACES = spaces.Tuple([spaces.Discrete(3), spaces.Discrete(4, start=1)])


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters", "action_space", "observation_space", "output"),
    [
        ("PQN", {}, spaces.Discrete(3, start=2), SENSORS, "action_values"),
        ("DQN", {}, spaces.Discrete(3), SENSORS, "action_values"),
        ("DQN", {"dueling": True, "distribution": "C51"}, spaces.Discrete(3), SENSORS, None),
        ("DQN", {"distribution": "QuantileRegression"}, spaces.Discrete(3), SENSORS, None),
        ("QLearning", {}, spaces.Discrete(3, start=-1), PLACES, "action_values"),
        ("SAC", {}, spaces.Box(-2, 3, (2, 2)), SENSORS, "mean_and_log_deviation"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_algorithms_agent_acts_alike_in_another_runtime(
    tmp_path: Path,
    algorithm: str,
    hyperparameters: dict[str, Any],
    action_space: spaces.Space[Any],
    observation_space: spaces.Space[Any],
    output: str | None,
) -> None:
    agent = make(
        action_space, observation_space, algorithm=algorithm, hyperparameters=hyperparameters
    )
    agent.save_model(tmp_path / "agent.onnx")
    found = assert_acts_alike(agent, tmp_path / "agent.onnx", observe(observation_space, 300))
    for action in found["action"]:
        assert action_space.contains(action)
    assert set(found) == {"action", output or "action_values"}


def test_observations_of_several_parts_go_in_as_gymnasium_flattens_them(tmp_path: Path) -> None:
    space = spaces.Dict(
        {"camera": spaces.Box(0, 1, (2, 3), np.float32), "gear": spaces.Discrete(4, start=-1)}
    )
    agent = make(spaces.Discrete(3), space)
    agent.save_model(tmp_path / "agent.onnx")
    rows = observe(space, 300)
    assert_acts_alike(agent, tmp_path / "agent.onnx", rows)
    space.seed(1)
    sample = space.sample()
    one = {name: np.asarray(value)[None] for name, value in sample.items()}
    flat = torch.from_numpy(batch_flatten(space)(one))
    assert run(tmp_path / "agent.onnx", flat)["action"][0] == agent.act(sample)


def test_an_onnx_file_says_what_made_it_and_not_where(tmp_path: Path) -> None:
    agent = make(spaces.Discrete(3))
    agent.save_model(tmp_path / "agent.onnx")
    agent.save_model(tmp_path / "agent.pth")
    model = onnx.load(tmp_path / "agent.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(p.key, json.loads(p.value)) for p in model.metadata_props] == [
        ("lepton", load_model(tmp_path / "agent.pth")[0].to_json_object())
    ]
    assert [
        d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim
    ] == [
        "n",
        4,
    ]
    assert "flattened as gymnasium" in model.graph.input[0].doc_string
    for own_path in (str(Path(__file__).parents[3]), "site-packages", ".py"):
        assert own_path.encode() not in (tmp_path / "agent.onnx").read_bytes()


def test_an_onnx_file_is_not_loaded_again(tmp_path: Path) -> None:
    make(spaces.Discrete(3)).save_model(tmp_path / "agent.onnx")
    with pytest.raises(InputError, match=r"is for other runtimes.*load the \.pth or \.safetensors"):
        Agent.load_model(tmp_path / "agent.onnx")


class Convolution(nn.Module):
    def __init__(self, observation_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.Dropout(0.5))

    def forward(self, observations: Tensor) -> Tensor:
        features: Tensor = self.layers(observations.unsqueeze(1))
        return features.flatten(1).relu()


class Branching(nn.Module):
    """The way depends on the data: a trace holds one of them alone."""

    def __init__(self, observation_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(observation_size, 5)

    def forward(self, observations: Tensor) -> Tensor:
        features = self.layer(observations)
        return torch.cond(  # type: ignore[no-any-return]
            observations.mean() > 0, torch.sin, torch.cos, (features,)
        )


class OutsideTorch(nn.Module):
    def __init__(self, observation_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(observation_size, 5)

    def forward(self, observations: Tensor) -> Tensor:
        sines = torch.from_numpy(np.sin(observations.cpu().numpy()))
        return self.layer(sines.to(observations.device))  # type: ignore[no-any-return]


@pytest.mark.parametrize("perceptor", [Convolution, Branching])
def test_own_modules_are_exported_as_they_act_when_they_do_not_train(
    tmp_path: Path, perceptor: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    agent = make(spaces.Discrete(3), perceptor=perceptor)
    agent.save_model(tmp_path / "agent.onnx")
    assert capfd.readouterr() == ("", "")
    assert all(module.training for module in agent.network.modules())
    agent.network.eval()
    rows = observe(SENSORS, 300)
    assert_acts_alike(agent, tmp_path / "agent.onnx", rows + 1)
    assert_acts_alike(agent, tmp_path / "agent.onnx", rows - 1)


def test_a_module_that_cannot_be_exported_costs_the_onnx_file_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    agent = make(spaces.Discrete(2), perceptor=OutsideTorch)
    with pytest.raises(ExportError, match=r"can't be had as ONNX: \w+: "):
        agent.save_model(tmp_path / "agent.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model").mkdir()
    (tmp_path / "model/agent.onnx").write_text("of an earlier run")
    environment = Environment(count=2)
    trainer = Trainer(
        environment,
        Agent(environment.action_space, perceptor=OutsideTorch),
        max_steps=64,
        evaluation_episodes=1,
        save_model=True,
        storage=tmp_path,
        progress=False,
    )
    result = trainer.train()
    assert result.model is not None
    assert result.model.formats == ["pth", "safetensors"]
    files = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert files == ["agent.pth", "agent.safetensors"]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1, told
    assert "agent.onnx is not written: this model can't be had as ONNX" in told[0]
