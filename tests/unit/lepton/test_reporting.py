"""lepton.report, the endpoint, and the last word."""

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton.errors import PeerLostError
from lepton.reporting.endpoint import Endpoint
from lepton.reporting.last_word import error_report, fit, write_last_word
from lepton.reporting.reporter import Reporter
from lepton.spec.report import ErrorReport, LastWord, Progress, SavedModel
from lepton.spec.run import TERMINATION_LOG_VARIABLE

PROGRAM = """
import os, sys, time
import lepton

lepton.report(step=0, total=100, loss=1.0)
for step in range(1, 51):
    lepton.report(step=step, loss=1 / step, accuracy=float("nan"), message=f"epoch {step}")
lepton.report(wrong=object())
lepton.report(step="many")
lepton.report(episodes=7)
print("reported", flush=True)
if "PAUSE" in os.environ:
    time.sleep(60)
if "FAIL" in os.environ:
    raise RuntimeError("the data loader\\nfell over")
"""


@pytest.fixture
def program(tmp_path: Path, python: Callable[..., Any]) -> Callable[..., Any]:
    """A program that reports."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(**variables: str) -> Any:
        log = str(tmp_path / f"last-word-{variables.get('RANK', '0')}")
        return python("program.py", LEPTON_TERMINATION_LOG=log, **variables)

    return start


def test_any_program_can_report_and_has_a_last_word(
    program: Callable[..., Any],
    last_word: Callable[[int], Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
) -> None:
    process = program(LEPTON_PORT=str(port), PAUSE="1")
    assert eventually(lambda: "reported" in process.output)
    status, body = fetch(port, "/progress")
    assert status == 200
    progress = json.loads(body)
    assert progress == {
        "step": 50,
        "totalSteps": 100,
        "episodes": 7,
        "metrics": {"loss": 0.02, "accuracy": None},
        "message": "epoch 50",
    }
    metrics = fetch(port, "/metrics")[1]
    assert "lepton_step 50.0" in metrics
    assert 'lepton_training_metric{name="loss"} 0.02' in metrics
    assert 'lepton_training_metric{name="accuracy"} NaN' in metrics
    assert fetch(port, "/healthz") == (200, "ok\n")
    # What can't be reported is said once, and the program goes on.
    assert process.output.count("could not report, training goes on") == 1

    process = program()
    assert process.wait() == 0, process.output
    assert last_word(0)["progress"]["step"] == 50
    assert "error" not in last_word(0)


def test_an_uncaught_exception_is_the_last_word_on_every_rank(
    program: Callable[..., Any], last_word: Callable[[int], Any], port: int
) -> None:
    process = program(RANK="3", WORLD_SIZE="4", FAIL="1", LEPTON_PORT=str(port))
    assert process.wait() == 1
    assert "Traceback" in process.output  # the interpreter's own hook still runs
    word = last_word(3)
    assert word["rank"] == 3
    assert word["error"]["line"] == "RuntimeError: the data loader fell over"
    assert word["error"]["where"] == "program.py:15 in <module>"
    assert "progress" not in word


def test_other_ranks_have_no_last_word_when_all_is_well(
    tmp_path: Path, program: Callable[..., Any]
) -> None:
    assert program(RANK="1", WORLD_SIZE="2").wait() == 0
    assert not (tmp_path / "last-word-1").exists()


def test_a_report_replaces_what_it_gives_and_keeps_the_rest() -> None:
    reporter = Reporter()
    reporter.update(step=5, total=10, metrics={"a": 1})
    reporter.update(episodes=3, metrics={"b": float("inf")})
    progress = reporter.progress()
    assert (progress.step, progress.total_steps, progress.episodes) == (5, 10, 3)
    assert progress.metrics == {"a": 1.0, "b": None}
    reporter.update(metrics={f"m{i}": i for i in range(50)})
    assert len(reporter.progress().metrics) == 16
    assert next(iter(reporter.progress().metrics)) == "a"


@pytest.fixture
def endpoint() -> Endpoint:
    def broken() -> tuple[str, str]:
        raise RuntimeError("no figures")

    return Endpoint(
        0,
        {
            "/hello": lambda: ("text/plain", "hello"),
            "/large": lambda: ("text/plain", "x" * 5_000_000),
            "/broken": broken,
        },
    )


def ask(endpoint: Endpoint, request: bytes) -> bytes:
    with socket.create_connection(("localhost", endpoint.port), timeout=10) as client:
        client.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(1 << 20):
                answer += data
        return answer


def test_the_endpoint_answers_what_it_knows_and_refuses_the_rest(endpoint: Endpoint) -> None:
    assert ask(endpoint, b"GET /hello?x=1 HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\nhello")
    assert ask(endpoint, b"HEAD /hello HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert ask(endpoint, b"GET /other HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert ask(endpoint, b"POST /hello HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    assert ask(endpoint, b"\x00\xff\r\n\r\n").startswith(b"HTTP/1.1 405 ")
    broken = ask(endpoint, b"GET /broken HTTP/1.1\r\n\r\n")
    assert broken.startswith(b"HTTP/1.1 500 ")
    assert broken.endswith(b"no figures\n")
    assert len(ask(endpoint, b"GET /large HTTP/1.1\r\n\r\n")) > 5_000_000
    assert ask(endpoint, b"x" * 20_000) == b""


def test_clients_that_never_finish_do_not_keep_others_waiting(endpoint: Endpoint) -> None:
    slow = [socket.create_connection(("localhost", endpoint.port)) for _ in range(200)]
    for client in slow[::2]:
        client.sendall(b"GET /hel")
    assert ask(endpoint, b"GET /hello HTTP/1.1\r\n\r\n").endswith(b"hello")
    assert len(endpoint._connections) <= 64
    for client in slow:
        client.close()


def test_a_client_that_does_not_read_does_not_block_the_endpoint(endpoint: Endpoint) -> None:
    with socket.create_connection(("localhost", endpoint.port)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        assert ask(endpoint, b"GET /hello HTTP/1.1\r\n\r\n").endswith(b"hello")


def test_the_last_word_always_fits_and_stays_json() -> None:
    model = SavedModel(path="m" * 1000, sha256="0" * 64, formats=["pth"])
    progress = Progress(
        step=1, metrics={"ü" * 200 + str(i): 1.0 for i in range(16)}, message="é" * 1024
    )
    error = ErrorReport(line="ß" * 1000, where="w" * 500)
    for word in (
        LastWord(progress=progress, model=model, error=error),
        LastWord(progress=progress, model=model),
        LastWord(error=ErrorReport(line="\x01" * 1000, where='"' * 500), model=model),
    ):
        data = fit(word)
        assert len(data) <= 4096
        short = LastWord.model_validate_json(data)
        assert short.model == model
        assert (short.error is None) == (word.error is None)
    assert LastWord.model_validate_json(fit(LastWord(progress=progress))).progress is not None


def test_a_cause_is_not_overwritten_by_its_consequences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(path))
    cause = LastWord(rank=1, error=ErrorReport(line="ValueError: cause"))
    consequence = LastWord(rank=0, error=ErrorReport(line="peer lost", secondary=True))
    write_last_word(consequence)
    write_last_word(cause)
    write_last_word(consequence)
    assert LastWord.model_validate_json(path.read_bytes()) == cause
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(tmp_path / "no/such/folder"))
    write_last_word(cause)  # no storage, no error


def test_who_fell_silent_is_not_overwritten_by_the_loss_of_who_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    monkeypatch.setenv(TERMINATION_LOG_VARIABLE, str(path))
    lost = error_report(PeerLostError("rank 3 is silent", silent=3), secondary=True)
    noticed = LastWord(rank=0, error=lost)
    cause = LastWord(rank=1, error=ErrorReport(line="ValueError: cause"))
    write_last_word(noticed)
    write_last_word(LastWord(rank=1, error=ErrorReport(line="peer lost", secondary=True)))
    assert LastWord.model_validate_json(path.read_bytes()) == noticed
    assert lost.silent == 3
    write_last_word(cause)
    assert LastWord.model_validate_json(path.read_bytes()) == cause


def test_an_error_report_names_the_innermost_frame_of_the_users_code() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        report = error_report(error)
    assert report.line.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert report.where is not None
    assert report.where.startswith("test_reporting.py:")
    assert report.where.endswith(
        "in test_an_error_report_names_the_innermost_frame_of_the_users_code"
    )
