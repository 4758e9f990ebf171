"""The first lesson, and what `import lepton` costs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lepton

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_the_six_lines_run_as_they_stand(tmp_path: Path, python: Callable[..., Any]) -> None:
    shutil.copy(EXAMPLES / "six_lines.py", tmp_path)
    process = python("six_lines.py")
    assert process.wait() == 0, process.output
    assert (tmp_path / "agent_model.pth").stat().st_size > 0
    assert (tmp_path / "model/agent.pth").exists()
    assert (tmp_path / "model/agent.safetensors").exists()
    assert (tmp_path / "model/agent.onnx").exists()
    assert "threshold 100 reached" in process.output


def test_import_lepton_imports_neither_torch_nor_numpy(python: Callable[..., Any]) -> None:
    code = (
        "import sys, lepton, lepton.spec, lepton.spec.hyperparameters, lepton.reporting.reporter\n"
        "lepton.report\n"
        "heavy = {'torch', 'numpy', 'gymnasium', 'prometheus_client'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from lepton import Trainer\n"
        "assert 'torch' in sys.modules\n"
    )
    process = python("-c", code)
    assert process.wait() == 0, process.output


def test_training_begins_without_torchs_compiler_and_its_second_of_imports(
    python: Callable[..., Any],
) -> None:
    code = (
        "import sys\n"
        "from lepton import Agent, Environment, Trainer\n"
        "environment = Environment(count=4)\n"
        "agent = Agent(environment.action_space)\n"
        "Trainer(environment, agent, max_steps=256, progress=False).train()\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)\n"
    )
    process = python("-c", code)
    assert process.wait() == 0, process.output


def test_unknown_names_of_the_package_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Trainr'"):
        lepton.Trainr  # noqa: B018
    assert "Trainer" in dir(lepton)
