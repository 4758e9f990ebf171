"""The operator and the control plane as processes of this machine, so that what they take can be
read from /proc."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from steps import ROOT, environment

TICKS = os.sysconf("SC_CLK_TCK")
REQUEST = re.compile(
    r'^lepton_operator_api_request_seconds_count\{code="(\d+)",resource="([^"]+)",verb="(\w+)"\}'
    r" ([\d.e+]+)$",
    re.MULTILINE,
)

LEADS = ("lepton_operator_leader 1.0", "lepton_operator_caches_unsynced 0.0")
PASSES = re.compile(r"^lepton_operator_reconcile_seconds_count{.*} ([\d.e+]+)$", re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """Of user and system, of a process so far."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICKS


class ControlPlane:
    """The processes of the cluster."""

    def __init__(self) -> None:
        told = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "cluster"), "status", "--json"],
            check=True,
            capture_output=True,
        )
        self._pids = {one["name"]: one["pid"] for one in json.loads(told.stdout)["processes"]}

    def cpu_seconds(self) -> dict[str, float]:
        """Of each process so far."""
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


class Operator:
    """`lepton-operator run`, as Helm starts it but for where it runs."""

    def __init__(self, image: str, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._log = ROOT / "build" / "bench" / "operator.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # With this variable it asks pods by their addresses, as in a pod, and not by the API
        # server; credentials are those of the kubeconfig, since there is no service account.
        inside = {"KUBERNETES_SERVICE_HOST": "127.0.0.1"}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "lepton_operator.app.main", "run",
                    f"--trainer-image={image}", "--lease-namespace=default",
                    "--lease-name=bench-scale", f"--port={self._port}", "--network-policies",
                    *options,
                ],
                env=environment() | inside,
                stdout=log,
                stderr=log,
            )  # fmt: skip
        self.started = time.monotonic()

    async def leading(self, within: float = 120.0) -> float:
        """Seconds from its start until it leads with full caches. Raises RuntimeError."""
        while time.monotonic() < self.started + within:
            if self._process.poll() is not None:
                raise RuntimeError(f"the operator ended; see {self._log}")
            text = await self._metrics()
            if all(told in text for told in LEADS):
                return time.monotonic() - self.started
            await self.pause(0.1)
        raise RuntimeError(f"the operator does not lead after {within} s; see {self._log}")

    async def pause(self, seconds: float) -> None:
        """Before it is asked for its metrics again: longer, the longer it runs, since an answer is
        work that grows with its jobs, and Prometheus asks for two or four a minute."""
        await asyncio.sleep(max(seconds, (time.monotonic() - self.started) / 20))

    def url(self, path: str) -> str:
        """Of its probes and metrics."""
        return f"http://127.0.0.1:{self._port}{path}"

    async def _metrics(self) -> str:
        url = self.url("/metrics")

        def read() -> str:
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        return await asyncio.to_thread(read)

    async def requests(self) -> dict[str, int]:
        """Writes so far by verb and resource, leases left out. Raises RuntimeError."""
        text, found = await self._metrics(), dict[str, int]()
        if not text:
            raise RuntimeError(f"the operator does not tell its metrics; see {self._log}")
        for _, resource, verb, count in REQUEST.findall(text):
            if resource != "leases":
                name = f"{verb} {resource}"
                found[name] = found.get(name, 0) + int(float(count))
        return found

    async def requests_a_job(self, jobs: int) -> tuple[float, str]:
        """How many it made for each of the jobs, and for what."""
        found = {name: count / jobs for name, count in (await self.requests()).items()}
        return sum(found.values()), ", ".join(f"{name} {each:.2g}" for name, each in found.items())

    async def is_idle(self, passes: int) -> bool:
        """Whether it has passed over jobs so often, and none waits."""
        text = await self._metrics()
        done = sum(float(count) for count in PASSES.findall(text))
        return done >= passes and "lepton_operator_queue_length 0.0" in text

    @property
    def cpu_seconds(self) -> float:
        """Of user and system, so far."""
        return cpu_seconds(self._process.pid)

    @property
    def peak_mebibytes(self) -> float:
        """The most memory that was resident at once."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024

    async def stop(self) -> None:
        """End it as a pod is ended."""
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, 40)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
