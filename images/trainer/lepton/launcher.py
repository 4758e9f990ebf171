"""Starts processes that belong together, local ranks of a pod or workers on one machine, and ends
them together."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

PEERS_NOTICE = 10.0
"""Seconds that the others get to notice by themselves that one failed; then they are told to."""
GRACE = 20.0
"""Seconds after which they are killed."""


class ProcessGroup:
    """One process per environment, all running the same command."""

    def __init__(
        self,
        command: Sequence[str],
        environments: Sequence[Mapping[str, str]],
        *,
        output: int | IO[str] | None = None,
        own_session: bool = False,
    ) -> None:
        """`output` takes what the processes print; None leaves it where this process prints.
        With `own_session` the terminal's Ctrl-C does not reach them. Raises OSError when the
        command can't be started."""
        self.processes: list[subprocess.Popen[str]] = []
        self.first_failure: tuple[int, int] | None = None
        """(index, exit code) of the process that failed first; 128 + n for signal n."""
        self._failed_at = 0.0
        self._told = False
        for variables in environments:
            self.processes.append(
                subprocess.Popen(
                    command,
                    env=dict(variables),
                    stdout=output,
                    stderr=subprocess.STDOUT if output is not None else None,
                    text=True,
                    start_new_session=own_session,
                )
            )

    def is_running(self) -> bool:
        """Whether any process runs. Notes the first failure, and ends the others after it."""
        if self.first_failure is None:
            for index, process in enumerate(self.processes):
                if process.poll():
                    self.first_failure = index, _exit_code(process.returncode)
                    self._failed_at = time.monotonic()
                    break
        else:
            since = time.monotonic() - self._failed_at
            if since > GRACE:
                self.signal(signal.SIGKILL)
            elif since > PEERS_NOTICE and not self._told:
                self._told = True
                self.signal(signal.SIGTERM)
        return any(process.poll() is None for process in self.processes)

    def signal(self, number: int) -> None:
        """Send a signal to those that run."""
        for process in self.processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(number)

    def exit_codes(self) -> list[int]:
        """Exit codes of processes that have all ended; 128 + n for signal n."""
        return [_exit_code(process.returncode) for process in self.processes]


def _exit_code(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


def launch_local_ranks(processes: int, node_rank: int) -> int:
    """Run `lepton worker` once per GPU of this pod; the exit code of the first that fails.

    What torchrun does for one node, except that SIGTERM and exit codes pass through unchanged.
    """
    nodes = int(os.environ.get("PET_NNODES", "1"))
    environments = [
        os.environ
        | {
            "RANK": str(node_rank * processes + local),
            "WORLD_SIZE": os.environ.get("WORLD_SIZE", str(nodes * processes)),
            "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(processes),
        }
        for local in range(processes)
    ]
    group = ProcessGroup([sys.executable, "-m", "lepton", "worker"], environments)
    signal.signal(signal.SIGTERM, lambda number, _: group.signal(number))
    while group.is_running():
        time.sleep(0.05)
    if group.first_failure is not None:
        return group.first_failure[1]
    return next((code for code in group.exit_codes() if code), 0)
