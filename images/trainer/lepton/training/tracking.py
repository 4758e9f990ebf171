"""Trackers: where metrics go beside the log and Prometheus, such as TensorBoard and MLflow.

Each is fed by a thread of its own, so that one that is slow, broken or not there costs training
nothing but a line of warning.
"""

import importlib.util
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from lepton.errors import InputError
from lepton.spec.report import Evaluation, Progress
from lepton.spec.suggestions import unknown

INTERVAL = 1.0
"""Seconds between two entries of training's metrics; evaluations are all tracked."""
MAX_WAITING = 1000
"""Entries that wait for a tracker that does not keep up; then the oldest are dropped."""
PATIENCE = 30.0
"""Seconds that trackers get for the rest at the end."""
LAST_PATIENCE = 5.0
"""Seconds that they get when an error or SIGTERM ended the run: its peers wait for the process."""

MLFLOW_VARIABLE = "MLFLOW_TRACKING_URI"
TENSORBOARD_VARIABLE = "TENSORBOARD_LOGGING_DIR"
_EVALUATION = "evaluation_reward_mean"


class Tracker(Protocol):
    """What takes metrics as training goes on. Called in a thread that is not the trainer's."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take finite numbers by name at a step; steps never decrease. What it raises is told
        once and ends nothing."""


class TensorBoard:
    """Event files in a folder, read by `tensorboard --logdir`."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self._folder, self._run = folder, run
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each value."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # A run that goes on from a checkpoint makes some steps once more: forget the first.
            self._writer = SummaryWriter(str(self._folder), flush_secs=10, purge_step=step)
            lines = [f"| {name} | {value} |" for name, value in self._run.items()]
            self._writer.add_text("run", "\n".join(["| | |", "|-|-|", *lines]), step)
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, error: BaseException | None) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()


class MLflow:
    """A run on the server, in the experiment, or the run itself, that MLflow's own variables name;
    within `mlflow.start_run()` of the program that trains, its run."""

    def __init__(self, run: Mapping[str, Any]) -> None:
        self._run = run
        self._client: Any = None
        self._run_id: str | None = None
        self._is_own = True
        mlflow = sys.modules.get("mlflow")  # not imported, the program has no run
        active = mlflow.active_run() if mlflow is not None else None
        if active is not None:
            self._run_id, self._is_own = active.info.run_id, False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All values in one request."""
        if self._client is None:
            self._start()
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _start(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        if self._run_id is None:
            name = f"{self._run['algorithm']} on {self._run['environment']}"
            self._run_id = mlflow.start_run(run_name=name).info.run_id
        self._client = mlflow.MlflowClient()
        params = [mlflow.entities.Param(name, str(value)) for name, value in self._run.items()]
        self._client.log_batch(self._run_id, params=params)

    def close(self, error: BaseException | None) -> None:
        """End the run, unless it is the program's."""
        if self._run_id is not None and self._is_own:
            import mlflow

            killed = isinstance(error, SystemExit | KeyboardInterrupt)
            mlflow.end_run("FINISHED" if error is None else "KILLED" if killed else "FAILED")


_PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}
"""What each tracker that has a name needs."""


def trackers_of_the_environment() -> list[str]:
    """Names of the trackers whose variables are set, as users of those tools set them."""
    variables = {"mlflow": MLFLOW_VARIABLE, "tensorboard": TENSORBOARD_VARIABLE}
    return [name for name, variable in variables.items() if os.environ.get(variable)]


def check_trackers(trackers: Sequence[str | Tracker]) -> None:
    """Raises InputError for a name that is unknown or needs what is not installed, and for an
    object that can't log."""
    for tracker in trackers:
        if isinstance(tracker, str):
            if tracker not in _PACKAGES:
                raise InputError(unknown("tracker", tracker, _PACKAGES))
            if importlib.util.find_spec(_PACKAGES[tracker]) is None:
                raise InputError(
                    f"tracker {tracker} needs a package that is not installed: pip install "
                    "'lepton-training[tracking]', for a job in its image"
                )
        elif not callable(getattr(tracker, "log", None)):
            kind = type(tracker).__name__
            raise InputError(f"a tracker has a method log(step, values); {kind} has none")


class Tracking:
    """Feeds the trackers of one run. Its methods return at once."""

    def __init__(
        self, trackers: Sequence[str | Tracker], storage: Path, configuration: Mapping[str, Any]
    ) -> None:
        """`configuration` is the run's; relative paths are taken from `storage`."""
        run = {n: value for n, value in configuration.items() if not isinstance(value, dict)}
        run |= configuration["hyperparameters"]
        self._feeds = [_Feed(*_opened(tracker, storage, run)) for tracker in trackers]
        self._next = 0.0
        self._held_back: Progress | None = None

    def progress(self, progress: Progress) -> None:
        """Track training's metrics, if the last time is long enough ago."""
        if not self._feeds:
            return
        now = time.monotonic()
        if now < self._next:
            self._held_back = progress
            return
        self._next = now + INTERVAL
        self._put_progress(progress)

    def _put_progress(self, progress: Progress) -> None:
        self._held_back = None
        values = {**progress.metrics, "steps_per_second": progress.steps_per_second}
        values.pop(_EVALUATION, None)  # comes when it is new
        if progress.episodes is not None:
            values["episodes"] = float(progress.episodes)
        self._put(progress.step, {n: v for n, v in values.items() if v is not None})

    def evaluation(self, step: int, evaluation: Evaluation) -> None:
        """Track an evaluation."""
        deviation = evaluation.reward_standard_deviation
        values = {_EVALUATION: evaluation.reward_mean, "evaluation_reward_deviation": deviation}
        self._put(step, values)

    def _put(self, step: int, values: dict[str, float]) -> None:
        for feed in self._feeds:
            feed.put((step, values))

    def close(self, error: BaseException | None) -> None:
        """Give trackers a little time for the rest; `error` is what ended the run, if anything.
        Closing again does nothing."""
        if self._held_back is not None:
            self._put_progress(self._held_back)
        patience = PATIENCE if error is None else LAST_PATIENCE
        deadline = time.monotonic() + patience
        for feed in self._feeds:
            feed.end(error)
        for feed in self._feeds:
            feed.wait(deadline)
        self._feeds = []


Entry = tuple[int, dict[str, float]]
Close = Callable[[BaseException | None], None]


def _opened(
    tracker: str | Tracker, storage: Path, run: Mapping[str, Any]
) -> tuple[str, Tracker, Close | None]:
    """Name, tracker, and how to close it; those that the program made are its own to close."""
    if tracker == "tensorboard":
        folder = storage / (os.environ.get(TENSORBOARD_VARIABLE) or "tensorboard")
        board = TensorBoard(folder, run)
        return tracker, board, board.close
    if tracker == "mlflow":
        flow = MLflow(run)
        return tracker, flow, flow.close
    assert not isinstance(tracker, str), tracker
    return type(tracker).__name__, tracker, None


class _Feed:
    """One tracker, and the thread that it is called in."""

    def __init__(self, name: str, tracker: Tracker, close: Close | None) -> None:
        self._name, self._tracker, self._close = name, tracker, close
        self._entries: queue.Queue[Entry | None] = queue.Queue(MAX_WAITING)
        self._error: BaseException | None = None
        self._warned = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"tracker {name}")
        self._thread.start()

    def put(self, entry: Entry | None) -> None:
        """Add an entry, at the expense of the oldest where there are too many."""
        while True:
            try:
                return self._entries.put_nowait(entry)
            except queue.Full:
                try:
                    self._entries.get_nowait()
                except queue.Empty:
                    continue

    def end(self, error: BaseException | None) -> None:
        """No entry follows."""
        self._error = error
        self.put(None)

    def wait(self, deadline: float) -> None:
        """Until all is tracked, or that moment of the monotonic clock."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._warn("it does not keep up; what it has not taken by now is lost")

    def _run(self) -> None:
        for step, values in iter(self._entries.get, None):
            with self._warning():
                self._tracker.log(step, values)
        if self._close is not None:
            with self._warning():
                self._close(self._error)

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            self._warn(f"{type(error).__name__}: {first}; training goes on")

    def _warn(self, text: str) -> None:
        if not self._warned:
            print(f"warning: tracker {self._name}: {text}", file=sys.stderr)
        self._warned = True
