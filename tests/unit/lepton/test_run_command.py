"""`lepton run`: a manifest on this machine, and the status that the operator would write."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lepton.cli import main
from lepton_operator.api.status import LeptonTrainingJobStatus

HEAD = "apiVersion: training.lepton.ai/v1alpha1\nkind: LeptonTrainingJob\n"


@pytest.fixture
def run(tmp_path: Path, python: Callable[..., Any]) -> Callable[..., Any]:
    """Start `lepton run` on a spec."""

    def start(spec: dict[str, Any], *arguments: str) -> Any:
        manifest = {
            "apiVersion": "training.lepton.ai/v1alpha1",
            "kind": "LeptonTrainingJob",
            "metadata": {"name": "local"},
            "spec": spec,
        }
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(manifest))
        return python("-m", "lepton", "run", "job.yaml", *arguments)

    return start


def status_of(process: Any) -> LeptonTrainingJobStatus:
    text = process.output[process.output.index("status:\n") :]
    return LeptonTrainingJobStatus.model_validate(yaml.safe_load(text)["status"])


def conditions(status: LeptonTrainingJobStatus) -> dict[str, str]:
    return {str(c.type): c.status for c in status.conditions}


def test_a_manifest_trains_with_two_workers_and_prints_the_operators_status(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    process = run(
        {
            "environment": {"count": 16},
            "agent": {"rewardThreshold": 30},
            "trainer": {"maxSteps": 100_000},
            "evaluation": {"everySteps": 4000},
            "workers": 2,
        }
    )
    assert process.wait() == 0, process.output
    status = status_of(process)
    assert str(status.phase) == "Complete"
    assert conditions(status) == {"PodsReady": "False", "Complete": "True", "Finished": "True"}
    assert status.workers is not None
    assert status.workers.summary == "2/2"
    assert status.evaluation is not None
    assert status.evaluation.passed
    assert status.model is not None
    folder = tmp_path / "lepton-runs/local"
    assert status.model.uri == f"file://{folder}/model/agent.pth"
    assert (folder / "model/agent.pth").exists()
    assert status.progress is not None
    assert status.progress.percent == 100


def test_ctrl_c_saves_and_the_same_command_goes_on(
    run: Callable[..., Any], eventually: Any
) -> None:
    import signal

    spec = {"environment": {}, "trainer": {"maxSteps": 500_000}, "evaluation": {"episodes": 4}}
    process = run(spec, "--storage", "kept")
    assert eventually(lambda: re.search(r"step [\d,]+ of 500,000", process.output))
    process.process.send_signal(signal.SIGINT)
    assert process.wait() == 130, process.output
    assert "run the same command again to go on from the checkpoint" in process.output
    process = run(spec, "--storage", "kept")
    assert process.wait() == 0, process.output
    assert "resumed from the checkpoint at step" in process.output


def test_an_own_program_is_run_restarted_and_its_end_explained(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    (tmp_path / "program.py").write_text(
        "import os, sys, lepton\n"
        "lepton.report(step=3, total=10, loss=0.5)\n"
        "print('rank', os.environ['RANK'], os.environ['GREETING'], sys.argv[1:])\n"
        "if os.environ['RANK'] == '1':\n"
        "    raise KeyError('no such column')\n"
    )
    import sys

    process = run(
        {
            "command": [sys.executable, "program.py"],
            "args": ["--fast"],
            "env": [{"name": "GREETING", "value": "hello"}],
            "workers": 2,
            "failurePolicy": {"maxRestarts": 1, "backoffSeconds": 0},
        }
    )
    assert process.wait() == 1, process.output
    assert "rank 0 hello ['--fast']" in process.output
    status = status_of(process)
    assert conditions(status)["Failed"] == "True"
    assert (status.attempt, status.restarts) == (2, 1)
    attempt = status.attempts[-1]
    assert (attempt.rank, attempt.exit_code, attempt.step) == (1, 1, 3)
    assert attempt.message is not None
    assert "rank 1 exited with code 1: KeyError: 'no such column' (program.py:5" in attempt.message
    failed = next(c for c in status.conditions if c.type == "Failed")
    assert failed.reason == "MaxRestartsExceeded"


def test_a_program_that_cannot_be_started_is_named(run: Callable[..., Any]) -> None:
    process = run({"command": ["no-such-program"]})
    assert process.wait() == 1
    assert "no-such-program can't be started: No such file" in process.output


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"name": "CartPol-v1"}, "did you mean CartPole-v1"),
        (
            {"name": "FrozenLake-v1", "parameters": {"map_name": "9x9"}},
            "environment FrozenLake-v1 can't be made: KeyError: '9x9' (frozen_lake.py:",
        ),
    ],
)
def test_an_environment_that_cannot_be_made_fails_at_once_as_invalid(
    run: Callable[..., Any], environment: dict[str, Any], text: str
) -> None:
    process = run({"environment": environment})
    assert process.wait() == 2, process.output
    assert "Traceback" not in process.output
    status = status_of(process)
    assert status.restarts == 0
    assert str(status.attempts[-1].failure_class) == "Invalid"
    assert text in (status.attempts[-1].message or "")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            HEAD
            + "metadata: {name: a}\nspec: {environment: {}, workers: 0, trainer: {maxStep: 5}}\n",
            ["spec.trainer.maxStep: unknown field", "spec.workers: Invalid value: 0"],
        ),
        (HEAD + "spec: {environment: {}}\n", ["metadata.name: Required value"]),
        (HEAD + "metadata: {name: A_b}\nspec: {environment: {}}\n", ["metadata.name: "]),
        (HEAD + "metadata: {name: a}\n", ["spec: Required value"]),
        (
            HEAD
            + "metadata: {name: a}\nspec: {environment: {}, agent: {hyperparameters: {x: 1}}}\n",
            ["spec.agent.hyperparameters: hyperparameter x is unknown to PPO"],
        ),
        (
            HEAD
            + "metadata: {name: a}\nspec: {environment: {}, checkpoint: {resumeFrom: 'pvc://a/b'}}\n",
            ["spec.checkpoint.resumeFrom: claims need Kubernetes"],
        ),
        ("kind: Pod\n", ["expected one object of kind LeptonTrainingJob, found 0"]),
        ("a: [\n", ["is no YAML"]),
        (None, ["No such file or directory"]),
    ],
)
def test_mistakes_in_a_manifest_are_told_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, lines: list[str]
) -> None:
    path = tmp_path / "job.yaml"
    if text is not None:
        path.write_text(text)
    assert main(["run", str(path)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(lines), told
    for line in lines:
        assert any(line in one for one in told), told


def test_help_has_examples_and_version_names_what_is_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "lepton run job.yaml" in capsys.readouterr().out
    assert main(["version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("lepton ")
    assert "\ntorch " in out
