"""What the tests of all extras share: training a few thousand steps of the page's examples."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lepton import Agent, Environment, Trainer
from lepton.cli.manifest import Manifest, read_manifest
from lepton.training.trainer import TrainingResult

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments" / "foreign.md"

Train = Callable[..., TrainingResult]


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Manifest]:
    """The page's example of this name."""

    def read(name: str) -> Manifest:
        blocks = re.findall(r"^```yaml\n(.+?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        (text,) = (block for block in blocks if f"  name: {name}\n" in block)
        path = tmp_path / "example.yaml"
        path.write_text(text)
        return read_manifest(str(path))

    return read


@pytest.fixture
def train(example: Callable[[str], Manifest]) -> Train:
    """Train the page's example of this name, but only for some steps and with the given count of
    environments; every number must be finite."""

    def run(name: str, *, steps: int, count: int | None = None) -> TrainingResult:
        spec = example(name).spec
        assert spec.environment is not None
        environment = Environment.from_spec(spec.environment)
        environment.count = count or environment.count
        hyperparameters = spec.agent.hyperparameters if spec.agent else {}
        agent = Agent(environment.action_space, hyperparameters=hyperparameters)
        trainer = Trainer(
            environment, agent, max_steps=steps, evaluation_episodes=2, progress=False
        )
        result = trainer.train()
        assert result.steps >= steps
        assert result.episodes > 0
        assert [name for name, value in result.metrics.items() if not math.isfinite(value)] == []
        assert math.isfinite(result.evaluation.reward_mean)
        return result

    return run
