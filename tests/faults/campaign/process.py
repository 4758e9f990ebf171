"""The operator as a process of its own, reached and ended by its pid."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import yaml


class OperatorProcess:
    """`lepton-operator run` for one namespace, by way of one server; may be started many times."""

    def __init__(
        self, server: str, namespace: str, trainer_image: str, folder: Path, *, name: str = "a"
    ) -> None:
        self.starts = 0
        self.port = _free_port()
        self._log = folder / f"operator-{name}.log"
        self._kubeconfig = folder / f"kubeconfig-{name}"
        self._kubeconfig.write_text(yaml.safe_dump(_kubeconfig(server)))
        self._command = [
            *(sys.executable, "-m", "lepton_operator.app.main"),
            "run",
            f"--trainer-image={trainer_image}",
            f"--namespace={namespace}",
            f"--lease-namespace={namespace}",
            f"--port={self.port}",
            "--progress-seconds=1",
            "--network-policies",
            "--log-format=text",
        ]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """What it has said, in all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def alive(self) -> bool:
        """Whether it runs (or is paused)."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *options: str, library: Path | None = None) -> None:
        """Start it anew; `library` is loaded before all others."""
        assert not self.alive
        self.starts += 1
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "NO_PROXY": "127.0.0.1",
            **({"LD_PRELOAD": str(library)} if library is not None else {}),
        }
        with self._log.open("a") as log:
            log.write(f"--- start {self.starts}\n")
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *self._command, *options, env=environment, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def probe(self, path: str) -> tuple[int, str]:
        """Code and text of one of its probes; code 0 while nobody listens."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as response,
            ):
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    def figure(self, field: str) -> int:
        """A figure of /proc/PID/status, such as VmRSS in KiB."""
        assert self._process is not None
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = (line for line in text.splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1])

    async def tasks(self) -> int:
        """Tasks of its event loop."""
        _, text = await self.probe("/metrics")
        (line,) = (row for row in text.splitlines() if row.startswith("lepton_operator_tasks "))
        return int(float(line.split()[1]))

    def descriptors(self) -> int:
        """Open files and sockets."""
        assert self._process is not None
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
    }
