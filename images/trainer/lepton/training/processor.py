"""How many torch threads: one for small networks, otherwise what the pod's CPU quota allows."""

import math
import os
from pathlib import Path

import torch
from torch import nn

SMALL_NETWORK = 1_000_000
"""Parameters below which a second thread gains nothing and, while other processes use the cores,
costs up to fourteen times."""


def available_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may use: its affinity, limited by the cgroup's quota (v2 or v1)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return allowed
    if quota in ("max", "-1"):
        return allowed
    return max(1, min(allowed, math.ceil(int(quota) / int(period))))


def set_threads(network: nn.Module) -> int:
    """Set torch's threads for this network; returns how many."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    size = sum(parameter.numel() for parameter in network.parameters())
    threads = 1 if size < SMALL_NETWORK else max(1, available_cpus() // processes)
    torch.set_num_threads(threads)
    return threads
