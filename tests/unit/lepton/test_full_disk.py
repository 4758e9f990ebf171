"""Files that can't be written: what was there stays, nothing half-written does, and people know."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton import Agent, Environment, InputError, Trainer, TrainingError
from lepton.agents.files import write_atomically
from lepton.training.checkpoint import CheckpointFolder

SAVE_SMALL_THEN_LARGE = """
import resource, sys
from pathlib import Path
from gymnasium import spaces
from lepton import Agent, TrainingError

def agent(units):
    sizes = {"hiddenSizes": [units, units]}
    return Agent(spaces.Discrete(2), spaces.Box(-1, 1, (4,)), hyperparameters=sizes)

folder = Path(sys.argv[1])
small, large = agent(8), agent(512)
for suffix in ("pth", "safetensors", "onnx"):
    small.save_model(folder / f"agent.{suffix}")
before = {path.name: path.read_bytes() for path in folder.iterdir()}
assert len(before) == 3
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
for suffix in ("pth", "safetensors", "onnx"):
    try:
        large.save_model(folder / f"agent.{suffix}")
    except TrainingError as error:
        print(error)
assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
Agent.load_model(folder / "agent.pth")
"""


def on_small_disk(folder: Path) -> list[str]:
    """A command that runs another one with a disk of 300 kB in `folder`; skips the test where the
    system does not let us."""
    mount = 'mount -t tmpfs -o size=300k none "$0" && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"]).returncode != 0:
        pytest.skip("needs the right to mount")
    return command


@pytest.mark.parametrize("kind", ["tmpfs", "limit"])
def test_a_model_that_finds_no_room_is_an_error_and_the_one_before_stays(
    tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "script.py").write_text(SAVE_SMALL_THEN_LARGE)
    command = on_small_disk(folder) if kind == "tmpfs" else []
    done = subprocess.run(
        [*command, sys.executable, str(tmp_path / "script.py"), str(folder), kind],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reason = "No space left on device" if kind == "tmpfs" else "File too large"
    assert done.stdout.splitlines() == [
        f"can't write model file {folder}/agent.{suffix}: {reason}; make room, or choose another "
        "folder"
        for suffix in ("pth", "safetensors", "onnx")
    ]


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (errno.ENOSPC, TrainingError, "No space left on device; make room, or choose another"),
        (errno.EDQUOT, TrainingError, "Disk quota exceeded; make room, or choose another folder"),
        (errno.EROFS, InputError, "Read-only file system; choose a folder that this process may"),
        (errno.EIO, TrainingError, "Input/output error$"),
    ],
)
def test_what_the_system_says_is_told_and_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: Any, text: str
) -> None:
    (tmp_path / "agent.pth").write_bytes(b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(error, match=rf"can't write model file .*agent\.pth: {text}"):
        write_atomically(tmp_path / "agent.pth", b"new", "model file")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_path_that_cannot_be_is_the_users_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/agent.pth", tmp_path / f"{'a' * 300}.pth"):
        with pytest.raises(InputError, match="can't write model file"):
            write_atomically(path, b"", "model file")
    (tmp_path / "agent.pth").mkdir()
    with pytest.raises(InputError, match="Is a directory; choose another name"):
        write_atomically(tmp_path / "agent.pth", b"", "model file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.pth", "file"]


def train_in(storage: Path, save_model: bool) -> None:
    environment = Environment(count=4)
    agent = Agent(environment.action_space, hyperparameters={"horizon": 16, "epochs": 1})
    settings: dict[str, Any] = {"evaluation_episodes": 2, "max_steps": 64, "progress": False}
    Trainer(environment, agent, storage=storage, save_model=save_model, **settings).train()


@pytest.mark.parametrize("save_model", [True, False])
def test_a_folder_that_cannot_be_written_to_is_told_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_model: bool
) -> None:
    def collect(*_: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr("lepton.training.collector.Collector.collect", collect)
    what, folder = ("the model", "model") if save_model else ("checkpoints", "checkpoints")
    (tmp_path / "file").write_text("")
    for storage, reason in (
        (tmp_path / "file", "Not a directory; choose another name"),
        (Path("/proc/here"), "No such file or directory; choose another name"),
    ):
        with pytest.raises(InputError, match=f"can't write {what} in {storage}/{folder}: {reason}"):
            train_in(storage, save_model)

    def fail(**_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    with pytest.raises(InputError, match="Read-only file system; choose a folder that this"):
        train_in(tmp_path, save_model)


def test_training_goes_on_without_checkpoints_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = 0

    def full(_: int) -> None:
        nonlocal tries
        tries += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    environment = Environment(count=4)
    agent = Agent(environment.action_space, hyperparameters={"horizon": 16, "epochs": 1})
    trainer = Trainer(
        environment,
        agent,
        max_steps=640,
        evaluation_episodes=2,
        storage=tmp_path,
        checkpoint_every=0.0,
        progress=False,
    )
    assert trainer.train().steps == 640
    assert tries == 11
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1, told
    assert told[0].startswith(f"warning: can't write checkpoint {tmp_path}/checkpoints/checkpoint-")
    assert told[0].endswith("make room, or choose another folder; training goes on without it")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_checkpoint_that_succeeds_again_makes_the_next_failure_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    litter = tmp_path / ".checkpoint-000000000000001.pt.77.tmp"
    litter.write_bytes(b"of a process that was killed")
    for step, full in enumerate((True, True, False, True)):
        with monkeypatch.context() as patch:
            if full:
                patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
            folder.try_to_write(step, b"data")
            assert folder.failed is full
    assert capsys.readouterr().err.count("warning: can't write checkpoint") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000000000002.pt"]


def test_a_job_whose_model_cannot_be_written_fails_and_says_why(
    tmp_path: Path, workers: Callable[..., Any], last_word: Callable[[int], Any]
) -> None:
    # Every process of the run reads this first.
    (tmp_path / "sitecustomize.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
    )
    storage = tmp_path / "storage"
    run = {"trainer": {"maxSteps": 2048}, "evaluation": {"episodes": 1}}
    (process,) = workers(run, LEPTON_STORAGE=str(storage))
    assert process.wait() == 1, process.output
    text = (
        f"can't write model file {storage}/model/agent.pth: File too large; make room, or choose "
        "another folder"
    )
    assert f"error: {text}\n" in process.output
    assert "warning: can't write checkpoint" in process.output
    assert "Traceback" not in process.output
    word = last_word(0)
    assert word["error"] == {"line": text, "secondary": False, "invalid": False}
    assert "model" not in word
    assert word["progress"]["step"] == 2048
    assert list((storage / "model").iterdir()) == []
