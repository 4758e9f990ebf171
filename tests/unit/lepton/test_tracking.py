"""Trackers: what was logged is read back, and none of them can end training."""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lepton import Agent, Environment, InputError, Trainer
from lepton.training import tracking


def make(storage: Path, *trackers: Any, **arguments: Any) -> Trainer:
    environment = Environment(count=4)
    agent = Agent(environment.action_space, hyperparameters={"horizon": 16, "epochs": 1})
    settings: dict[str, Any] = {
        "max_steps": 640,
        "evaluation_episodes": 2,
        "evaluate_every": 320,
        "storage": storage,
        "progress": False,
        "trackers": trackers,
    }
    return Trainer(environment, agent, **settings | arguments)


@pytest.fixture(autouse=True)
def _all_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "INTERVAL", 0.0)
    monkeypatch.setattr(tracking, "PATIENCE", 60.0)
    monkeypatch.setattr(tracking, "LAST_PATIENCE", 60.0)


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """MLflow with its files in a folder, which its light package alone can do."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    yield mlflow
    mlflow.end_run()


class Recorder:
    def __init__(self) -> None:
        self.entries: list[tuple[int, dict[str, float]]] = []
        self.threads: set[str] = set()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.entries.append((step, dict(values)))
        self.threads.add(threading.current_thread().name)

    def history(self, name: str) -> list[tuple[int, float]]:
        return [(step, values[name]) for step, values in self.entries if name in values]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))  # type: ignore[no-untyped-call]
    events.Reload()  # type: ignore[no-untyped-call]
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]  # type: ignore[no-untyped-call]
        for tag in events.Tags()["scalars"]  # type: ignore[no-untyped-call]
    }


def test_an_object_of_ones_own_is_given_every_metric_in_another_thread(tmp_path: Path) -> None:
    recorder = Recorder()
    result = make(tmp_path, recorder).train()
    assert [step for step, _ in recorder.history("loss")] == [64 * n for n in range(1, 11)] + [640]
    assert recorder.entries[-1][1]["loss"] == result.metrics["loss"]
    assert recorder.entries[-1][1]["episodes"] == result.episodes
    evaluations = recorder.history("evaluation_reward_mean")
    assert [step for step, _ in evaluations] == [320, 640, 640]
    assert evaluations[-1][1] == result.evaluation.reward_mean
    assert recorder.threads == {"tracker Recorder"}


def test_the_last_metrics_are_tracked_however_short_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "INTERVAL", 3600.0)
    recorder = Recorder()
    result = make(tmp_path, recorder).train()
    assert [step for step, _ in recorder.history("loss")] == [64, 640]
    assert recorder.history("loss")[-1][1] == result.metrics["loss"]


def test_tensorboard_shows_what_training_logged(tmp_path: Path) -> None:
    recorder = Recorder()
    make(tmp_path, recorder, "tensorboard").train()
    found = scalars(tmp_path / "tensorboard")
    assert set(found) == {name for _, values in recorder.entries for name in values}
    for name, pairs in found.items():
        expected = recorder.history(name)
        assert [step for step, _ in pairs] == [step for step, _ in expected]
        assert [value for _, value in pairs] == pytest.approx([value for _, value in expected])


def test_steps_made_again_after_a_checkpoint_are_shown_once(tmp_path: Path) -> None:
    class Stopped(Exception):  # noqa: N818
        pass

    trainer = make(tmp_path, "tensorboard")
    tell = trainer._tell

    def hook() -> None:
        tell()
        if trainer._record.counters.steps == 256:
            trainer._save_checkpoint()
        if trainer._record.counters.steps == 448:
            raise Stopped

    trainer._tell = hook  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        trainer.train()
    make(tmp_path, "tensorboard").train()
    steps = [step for step, _ in scalars(tmp_path / "tensorboard")["entropy"]]
    assert sorted(set(steps)) == [64 * n for n in range(1, 11)]
    assert steps.count(384) == 1


def test_mlflow_has_the_metrics_the_parameters_and_the_end(tmp_path: Path, mlflow: Any) -> None:
    recorder = Recorder()
    make(tmp_path, recorder, "mlflow", seed=5).train()
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"])
    assert run.info.run_name == "PPO on lepton/CartPole-v1"
    assert run.info.status == "FINISHED"
    assert (run.data.params["seed"], run.data.params["horizon"]) == ("5", "16")
    history = client.get_metric_history(run.info.run_id, "value_loss")
    assert [(m.step, m.value) for m in history] == recorder.history("value_loss")
    assert mlflow.active_run() is None


def test_a_run_that_the_program_began_in_mlflow_is_used_and_left_to_it(
    tmp_path: Path, mlflow: Any
) -> None:
    with mlflow.start_run(run_name="mine") as mine:
        make(tmp_path, "mlflow").train()
        assert mlflow.active_run().info.run_id == mine.info.run_id
        mlflow.log_metric("after", 1.0)
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.run_name == "mine"
    assert {"loss", "evaluation_reward_mean", "after"} <= set(run.data.metrics)


def test_mlflow_is_told_of_a_run_that_failed(tmp_path: Path, mlflow: Any) -> None:
    trainer = make(tmp_path, "mlflow")
    tell = trainer._tell

    def hook() -> None:
        tell()
        raise ArithmeticError

    trainer._tell = hook  # type: ignore[method-assign]
    with pytest.raises(ArithmeticError):
        trainer.train()
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"


def test_a_tracker_that_fails_is_told_once_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Flaky(Recorder):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            if step < 320:
                raise ConnectionError("no route\nto host")
            super().log(step, values)

    flaky = Flaky()
    assert make(tmp_path, flaky).train().steps == 640
    assert flaky.entries[0][0] == 320
    assert capsys.readouterr().err.splitlines() == [
        "warning: tracker Flaky: ConnectionError: no route; training goes on"
    ]


def test_a_tracker_that_hangs_holds_up_nothing_and_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.1)
    monkeypatch.setattr(tracking, "MAX_WAITING", 3)
    release = threading.Event()

    class Hanging(Recorder):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            release.wait()
            super().log(step, values)

    hanging = Hanging()
    assert make(tmp_path, hanging).train().steps == 640
    assert "tracker Hanging: it does not keep up" in capsys.readouterr().err
    release.set()
    thread = next(t for t in threading.enumerate() if t.name == "tracker Hanging")
    thread.join(10)
    assert [step for step, _ in hanging.entries][1:] == [640, 640]  # the newest are kept


def test_a_disk_that_is_full_does_not_end_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorboard").write_text("no folder")
    assert make(tmp_path, "tensorboard").train().steps == 640
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1, told
    assert told[0].startswith("warning: tracker tensorboard: ")


@pytest.mark.parametrize(
    ("tracker", "text"),
    [
        ("wandb", "tracker wandb is unknown; there are tensorboard, mlflow"),
        (print, "has a method log"),
        ("mlflow", r"mlflow needs a package.*pip install 'lepton-training\[tracking\]', for a job"),
    ],
)
def test_what_can_track_nothing_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Any, text: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=text):
        make(tmp_path, tracker)


def test_a_job_tracks_what_its_variables_ask_for_on_the_first_worker_alone(
    tmp_path: Path, workers: Callable[..., Any]
) -> None:
    run = {
        "environment": {"count": 4},
        "trainer": {"maxSteps": 1024},
        "evaluation": {"episodes": 1},
    }
    processes = workers(
        run,
        size=2,
        LEPTON_STORAGE=str(tmp_path / "storage"),
        TENSORBOARD_LOGGING_DIR="board",
        MLFLOW_TRACKING_URI=f"file://{tmp_path}/mlruns",
        MLFLOW_EXPERIMENT_NAME="poles",
        MLFLOW_ALLOW_FILE_STORE="true",
    )
    for process in processes:
        assert process.wait() == 0, process.output
        assert "warning: tracker" not in process.output
    (events,) = (tmp_path / "storage/board").iterdir()
    assert scalars(events)["loss"][-1][0] == 1024
    files = list((tmp_path / "mlruns").glob("*/*/metrics/loss"))
    assert len(files) == 1
    experiment = (files[0].parents[2] / "meta.yaml").read_text()
    assert "name: poles" in experiment


def test_a_server_that_is_not_there_costs_a_job_a_warning(
    workers: Callable[..., Any], last_word: Callable[[int], Any], port: int
) -> None:
    run = {"trainer": {"maxSteps": 1024}, "evaluation": {"episodes": 1}}
    (process,) = workers(
        run,
        MLFLOW_TRACKING_URI=f"http://localhost:{port}",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert process.wait() == 0, process.output
    lines = [line for line in process.output.splitlines() if "mlflow" in line.lower()]
    assert len(lines) == 1, process.output
    assert lines[0].startswith("warning: tracker mlflow: MlflowException: ")
    assert lines[0].endswith("; training goes on")
    assert last_word(0)["progress"]["step"] == 1024
