"""`lepton run`: the operator's part for one machine. The status is made by the operator's code."""

import http.client
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO

import yaml

from lepton.cli.manifest import Manifest, ManifestError, read_manifest
from lepton.launcher import ProcessGroup
from lepton.spec.agent import AgentSpec
from lepton.spec.report import LastWord, Progress
from lepton.spec.run import (
    PORT_VARIABLE,
    RUN_VARIABLE,
    STORAGE_VARIABLE,
    TERMINATION_LOG_VARIABLE,
    RunConfiguration,
)
from lepton.spec.trainer import CheckpointSpec, EvaluationSpec, TrainerSpec
from lepton.training.console import Console
from lepton_operator.api.names import ConditionType, FailureClass, Reason
from lepton_operator.api.status import LeptonTrainingJobStatus, WorkersStatus
from lepton_operator.reconcile import attempts, outcome
from lepton_operator.reconcile.conditions import with_condition, with_phase
from lepton_operator.reconcile.failure import Failure
from lepton_operator.reconcile.progress import latest_reward, metrics, progress_status, stale
from lepton_operator.reconcile.settings import Settings
from lepton_operator.reconcile.text import duration, exit_text, one_line
from lepton_operator.reconcile.tracebacks import Raised, last_line, last_traceback_line

EXIT_FAILED, EXIT_INVALID, EXIT_INTERRUPTED = 1, 2, 130
PROGRESS_INTERVAL = 0.5
LOG_LINES = 200
STOP_PATIENCE = 30.0


def run_manifest(path: str, storage: str | None) -> int:
    """Train the job and print its status; the exit code."""
    try:
        manifest = read_manifest(path)
    except ManifestError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_INVALID
    run = LocalRun(manifest, Path(storage or Path("lepton-runs") / manifest.name).absolute())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, run.stop)
    code = run.run()
    document = {"status": run.status.to_json_object()}
    print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000), end="")
    return code


class LocalRun:
    """One job on this machine: attempts, restarts, and the status made of them."""

    def __init__(self, manifest: Manifest, storage: Path) -> None:
        self._manifest = manifest
        self._storage = storage
        self._stopped_by: int | None = None
        self._group: ProcessGroup | None = None
        self._progress: Progress | None = None
        self._console = Console(enabled=manifest.spec.command is not None)
        self.status = LeptonTrainingJobStatus()

    def stop(self, number: int, _: FrameType | None) -> None:
        """Ask the workers to save and end; asked again, end them at once."""
        if self._group is not None:
            again = self._stopped_by is not None
            self._group.signal(signal.SIGKILL if again else signal.SIGTERM)
        self._stopped_by = number

    def run(self) -> int:
        """All attempts; the exit code. Afterwards `status` is what the operator would write."""
        policy = self._manifest.spec.failure_policy
        self.status = self.status.model_copy(
            update={"attempt": 1, "start_time": _now(), "observed_generation": 1}
        )
        while True:
            attempt = Attempt(self._manifest, self._storage, self.status.attempt)
            try:
                self._group = attempt.start()
            except OSError as error:
                name = (self._manifest.spec.command or ["lepton"])[0]
                text = f"{name} can't be started: {error.strerror or error}"
                return self._fail(Reason.CONTAINER_CANNOT_START, text)
            self._ready()
            self._follow(attempt)
            words = attempt.last_words()
            self._note_progress(words)
            if self._stopped_by is not None:
                return self._interrupted()
            failure = attempt.failure(words)
            if failure is None:
                return self._complete(words.get(0))
            step = self._progress.step if self._progress is not None else None
            name = self._manifest.name
            self.status = attempts.with_failed_attempt(
                self.status, failure, policy, name, _now(), step
            )
            verdict = attempts.judge(self.status, failure, policy, Settings(trainer_image=""))
            if verdict.end is not None:
                return self._fail(*verdict.end)
            self._restart(failure, verdict)
            if self._stopped_by is not None:
                return self._interrupted()

    def _follow(self, attempt: "Attempt") -> None:
        """Until all processes ended: look at progress, and end what does not want to end."""
        assert self._group is not None
        next_look, stopping_since = 0.0, 0.0
        while self._group.is_running():
            now = time.monotonic()
            if self._stopped_by is not None:
                stopping_since = stopping_since or now
                if now - stopping_since > STOP_PATIENCE:
                    self._group.signal(signal.SIGKILL)
            if now >= next_look:
                next_look = now + PROGRESS_INTERVAL
                self._progress = attempt.progress() or self._progress
                if self._progress is not None:
                    self._console.progress(self._progress)
            time.sleep(0.05)
        attempt.finish()

    def _ready(self) -> None:
        total = self._manifest.spec.workers
        workers = WorkersStatus(ready=total, active=total, total=total, summary=f"{total}/{total}")
        self.status = with_condition(
            self.status.model_copy(update={"workers": workers}),
            ConditionType.PODS_READY,
            True,
            Reason.ALL_PODS_READY,
            f"{total} worker{'s' if total > 1 else ''} ready",
            _now(),
        )

    def _note_progress(self, words: dict[int, LastWord]) -> None:
        word = words.get(0)
        said = word.progress if word is not None and word.progress is not None else self._progress
        if said is None:
            return
        self._progress = said
        self.status = self.status.model_copy(
            update={
                "progress": progress_status(said, time=_now(), previous=self.status.progress),
                "metrics": metrics(said.metrics),
                "reward": latest_reward(self.status.evaluation, said.metrics),
            }
        )

    def _complete(self, word: LastWord | None) -> int:
        location = f"file://{self._storage}"
        status = outcome.with_last_word(self.status, word, location=location, time=_now())
        total = self._manifest.spec.workers
        workers = WorkersStatus(succeeded=total, total=total, summary=f"{total}/{total}")
        self.status = status.model_copy(update={"workers": workers})
        text = outcome.verdict(status.evaluation)
        self._end(ConditionType.COMPLETE, Reason.TRAINING_COMPLETE, text)
        return 0

    def _fail(self, reason: Reason, text: str) -> int:
        self.status = self.status.model_copy(update={"progress": stale(self.status.progress)})
        self._end(ConditionType.FAILED, reason, text)
        print(f"failed: {text}", file=sys.stderr)
        last = self.status.attempts[-1] if self.status.attempts else None
        invalid = last is not None and last.failure_class is FailureClass.INVALID
        return EXIT_INVALID if invalid else EXIT_FAILED

    def _end(self, kind: ConditionType, reason: Reason, text: str) -> None:
        status, now = self.status, _now()
        for condition, value in (
            (ConditionType.PODS_READY, False),
            (kind, True),
            (ConditionType.FINISHED, True),
        ):
            status = with_condition(status, condition, value, reason, text, now)
        self.status = with_phase(status.model_copy(update={"completion_time": now}))

    def _restart(self, failure: Failure, verdict: attempts.Verdict) -> None:
        self.status = attempts.with_next_attempt(self.status, free=verdict.free)
        policy, name = self._manifest.spec.failure_policy, self._manifest.name
        wait = attempts.backoff(self.status, policy, name).total_seconds()
        text = f"{failure.message}; attempt {self.status.attempt} starts in {duration(wait)}"
        if verdict.warning is not None:
            text = f"{text}; {verdict.warning}"
        self.status = with_condition(
            self.status, ConditionType.PODS_READY, False, Reason.RESTARTING, text, _now()
        )
        print(text, file=sys.stderr)
        until = time.monotonic() + wait
        while time.monotonic() < until and self._stopped_by is None:
            time.sleep(0.05)

    def _interrupted(self) -> int:
        step = f" at step {self._progress.step:,}" if self._progress is not None else ""
        how = "run the same command again to go on from the checkpoint"
        print(f"stopped{step}; {how} in {self._storage}", file=sys.stderr)
        self.status = with_phase(self.status)
        return 128 + signal.SIGTERM if self._stopped_by == signal.SIGTERM else EXIT_INTERRUPTED


class Attempt:
    """The processes of one attempt, one per worker, and what they leave behind."""

    def __init__(self, manifest: Manifest, storage: Path, number: int) -> None:
        self._manifest = manifest
        self._storage = storage
        self._number = number
        self._folder = tempfile.TemporaryDirectory(prefix="lepton-run-")
        self._port = _free_port()
        self._tail: deque[str] = deque(maxlen=LOG_LINES)
        self._copier: threading.Thread | None = None
        self._group: ProcessGroup | None = None

    def start(self) -> ProcessGroup:
        """Start them. Raises OSError when the command can't be started."""
        spec = self._manifest.spec
        self._storage.mkdir(parents=True, exist_ok=True)
        rendezvous = str(_free_port())
        environments = [self._variables(rank, rendezvous) for rank in range(spec.workers)]
        if spec.command is None:
            # Its own progress goes straight to the terminal.
            command = [sys.executable, "-m", "lepton", "worker"]
            self._group = ProcessGroup(command, environments, own_session=True)
            return self._group
        reader, writer = os.pipe()
        try:
            command = [*spec.command, *spec.args]
            with os.fdopen(writer, "w") as output:
                self._group = ProcessGroup(command, environments, output=output, own_session=True)
        except OSError:
            os.close(reader)
            raise
        pipe = os.fdopen(reader, errors="replace")
        self._copier = threading.Thread(target=self._copy, args=(pipe,), daemon=True)
        self._copier.start()
        return self._group

    def _variables(self, rank: int, rendezvous: str) -> dict[str, str]:
        manifest, spec = self._manifest, self._manifest.spec
        variables = dict(os.environ)
        variables |= {
            PORT_VARIABLE: str(self._port),
            TERMINATION_LOG_VARIABLE: str(self._last_word_file(rank)),
            STORAGE_VARIABLE: str(self._storage),
            "PYTHONUNBUFFERED": "1",
            "PET_NNODES": str(spec.workers),
            "PET_NPROC_PER_NODE": "1",
            "PET_NODE_RANK": str(rank),
            "PET_RDZV_BACKEND": "static",
            "PET_RDZV_ENDPOINT": f"localhost:{rendezvous}",
            "PET_RDZV_ID": f"{manifest.name}-{self._number}",
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": rendezvous,
            "WORLD_SIZE": str(spec.workers),
            "RANK": str(rank),
            # Beside each other on one machine, they share its GPUs out as processes of a pod do.
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(spec.workers),
        }
        if sys.platform == "linux" and spec.workers > 1:
            # A laptop's host name need not resolve to an address of its own.
            variables.setdefault("GLOO_SOCKET_IFNAME", "lo")
        if rank > 0:
            del variables[PORT_VARIABLE]  # one machine, one port
        if spec.environment is not None:
            variables[RUN_VARIABLE] = RunConfiguration(
                job=manifest.name,
                environment=spec.environment,
                agent=spec.agent or AgentSpec(),
                trainer=spec.trainer or TrainerSpec(),
                evaluation=spec.evaluation or EvaluationSpec(),
                checkpoint=spec.checkpoint or CheckpointSpec(),
                resume_from=self._resume_from(),
            ).model_dump_json(by_alias=True, exclude_none=True)
        return variables | {v.name: v.value for v in spec.env if v.value is not None}

    def _resume_from(self) -> str | None:
        """The other run's folder, beside this run's as on a claim."""
        checkpoint = self._manifest.spec.checkpoint
        named = checkpoint.resume_from if checkpoint is not None else None
        return str(self._storage.parent / named) if named is not None else None

    def _last_word_file(self, rank: int) -> Path:
        return Path(self._folder.name) / f"last-word-{rank}.json"

    def _copy(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._tail.append(line)
            sys.stderr.write(line)
            sys.stderr.flush()

    def progress(self) -> Progress | None:
        """What the first worker says, or None when it does not."""
        connection = http.client.HTTPConnection("localhost", self._port, timeout=1)
        try:
            connection.request("GET", "/progress")
            return Progress.model_validate_json(connection.getresponse().read(1 << 20))
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def finish(self) -> None:
        """Take in the rest of the output."""
        if self._copier is not None:
            self._copier.join(timeout=5)

    def last_words(self) -> dict[int, LastWord]:
        """Last words by worker."""
        words: dict[int, LastWord] = {}
        for rank in range(self._manifest.spec.workers):
            try:
                text = self._last_word_file(rank).read_bytes()
                words[rank] = LastWord.model_validate_json(text)
            except (OSError, ValueError):
                continue
        self._folder.cleanup()
        return words

    def failure(self, words: dict[int, LastWord]) -> Failure | None:
        """Why the attempt failed: the first process that did, or the one that is to blame."""
        assert self._group is not None
        if self._group.first_failure is None:
            return None
        rank, code = self._group.first_failure
        causes = [r for r, w in words.items() if w.error is not None and not w.error.secondary]
        if causes and rank not in causes:
            rank = causes[0]
            code = self._group.exit_codes()[rank]
        word = words.get(rank)
        raised = self._raised(word)
        text = f"rank {rank} {exit_text(code)}" + (f": {raised}" if raised else "")
        invalid = word is not None and word.error is not None and word.error.invalid
        return Failure(
            FailureClass.INVALID if invalid else FailureClass.APPLICATION,
            Reason.INVALID_SPEC if invalid else Reason.ERROR,
            one_line(text, 1000),
            rank=rank,
            exit_code=code,
        )

    def _raised(self, word: LastWord | None) -> Raised | str | None:
        if word is not None and word.error is not None:
            return Raised(word.error.line, word.error.where)
        log = "".join(self._tail)
        return last_traceback_line(log) or last_line(log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
