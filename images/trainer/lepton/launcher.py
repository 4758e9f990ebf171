"""Starts the local ranks of one pod, or of one machine, and ends them together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

GRACE = 20.0
"""Seconds that the others get to end by themselves after one ended; then they are killed."""
PEERS_NOTICE = 10.0
"""Of these, seconds before they are told to."""


def launch_local_ranks(processes: int, node_rank: int) -> int:
    """Run `lepton worker` once per GPU of this pod; the exit code of the first that fails."""
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
    return run_together([sys.executable, "-m", "lepton", "worker"], environments)


def run_together(command: Sequence[str], environments: Sequence[Mapping[str, str]]) -> int:
    """Run the command once per environment until all ended; the exit code of the first to fail,
    128 + n for signal n. SIGTERM to this process goes to all. When one fails, the others get some
    time to notice, then SIGTERM, then SIGKILL."""
    children = [subprocess.Popen(command, env=dict(variables)) for variables in environments]

    def forward(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    failed: int | None = None
    failed_at = 0.0
    terminated = False
    while any(child.poll() is None for child in children):
        if failed is None:
            codes = [code for child in children if (code := child.poll())]
            if codes:
                failed, failed_at = codes[0], time.monotonic()
        elif time.monotonic() - failed_at > GRACE:
            for child in children:
                child.kill()
        elif time.monotonic() - failed_at > PEERS_NOTICE and not terminated:
            terminated = True
            forward(signal.SIGTERM, None)
        time.sleep(0.05)
    codes = [child.returncode for child in children]
    code = failed if failed is not None else next((c for c in codes if c), 0)
    return 128 - code if code < 0 else code
