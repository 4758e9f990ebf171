"""Helpers for tests of the training library: processes, as users and pods start them."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


class Python:
    """A Python process in a folder of its own."""

    def __init__(self, folder: Path, arguments: list[str], variables: dict[str, str]) -> None:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LEPTON_", "PET_", "MASTER_")) and name != "WORLD_SIZE"
        }
        if "RANK" in variables:
            kept["CUDA_VISIBLE_DEVICES"] = ""  # one GPU is not enough for several ranks
        self._output = (folder / f"output-{time.monotonic_ns()}.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(folder)} | variables,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    @property
    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()


@pytest.fixture
def python(tmp_path: Path) -> Iterator[Callable[..., Python]]:
    """Start Python processes in tmp_path; what still runs at the end is killed."""
    started: list[Python] = []

    def start(*arguments: str, **variables: str) -> Python:
        started.append(Python(tmp_path, list(arguments), variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def workers(tmp_path: Path, python: Callable[..., Python]) -> Callable[..., list[Python]]:
    """Start the worker processes of one run, as the operator's pods do."""

    def start(
        run: dict[str, Any], size: int = 1, port: int | None = None, **variables: str
    ) -> list[Python]:
        rendezvous = str(free_port())
        # Pods have a port each; on one machine only the first worker serves.
        served = {"LEPTON_PORT": str(port)} if port is not None else {}
        return [
            python(
                "-m",
                "lepton",
                "worker",
                LEPTON_RUN=json.dumps({"job": "default/test", **run}),
                LEPTON_TERMINATION_LOG=str(tmp_path / f"last-word-{rank}"),
                MASTER_ADDR="localhost",
                MASTER_PORT=rendezvous,
                WORLD_SIZE=str(size),
                GLOO_SOCKET_IFNAME="lo",
                PET_NNODES=str(size),
                PET_NPROC_PER_NODE="1",
                PET_NODE_RANK=str(rank),
                **(served if rank == 0 else {}),
                **variables,
            )
            for rank in range(size)
        ]

    return start


@pytest.fixture
def last_word(tmp_path: Path) -> Callable[[int], dict[str, Any]]:
    """The termination message of a rank."""

    def read(rank: int = 0) -> dict[str, Any]:
        data = (tmp_path / f"last-word-{rank}").read_bytes()
        assert len(data) <= 4096
        return json.loads(data)  # type: ignore[no-any-return]

    return read


def get(port: int, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as response:
        return response.status, response.read().decode()


@pytest.fixture
def fetch() -> Callable[[int, str], tuple[int, str]]:
    """GET a path of a local port."""
    return get


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Call until the result is true or the deadline has passed; the result."""

    def wait(check: Callable[[], Any], deadline: float = DEADLINE) -> Any:
        end = time.monotonic() + deadline
        while True:
            try:
                result = check()
            except OSError:
                result = None
            if result or time.monotonic() > end:
                return result
            time.sleep(0.05)

    return wait


@pytest.fixture
def port() -> int:
    """A free TCP port."""
    return free_port()
