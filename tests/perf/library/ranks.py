"""Two ranks on two cores against one: total steps a second in training."""

import json
import os
import socket
import statistics
import subprocess
import sys
from typing import Any

from figures import Figure, Report, at_least, spread

ENVIRONMENTS = 1024
STEPS_OF_A_RANK = 2_000_000
BOUNDS = {"Parameters": 1.7, "Gradients": 1.4}

PROGRAM = """
import json, sys, torch
from lepton import Agent, Environment, Trainer
torch.set_num_threads(1)
steps, synchronisation = int(sys.argv[1]), sys.argv[2]
environment = Environment(count=1024)
agent = Agent(environment.action_space)
trainer = Trainer(environment, agent, max_steps=steps, evaluation_episodes=1,
                  synchronisation=synchronisation, progress=False)
result = trainer.train()
print(json.dumps(result.steps_per_second))
"""


def steps_per_second(ranks: int, synchronisation: str) -> float:
    """Of all ranks together, by the first one's clock."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    common = {
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-c", PROGRAM, str(STEPS_OF_A_RANK * ranks), synchronisation]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | common | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"{ranks} ranks with {synchronisation} failed")
    speed: Any = json.loads(outputs[0])
    return float(speed)


def measure(report: Report, rounds: int) -> None:
    """One rank and two in turn."""
    for synchronisation, bound in BOUNDS.items():
        ratios = []
        for _ in range(rounds):
            one = steps_per_second(1, synchronisation)
            ratios.append(steps_per_second(2, synchronisation) / one)
        target, met = at_least(statistics.median(ratios), bound)
        report.add(
            Figure(
                f"two ranks, {synchronisation}",
                statistics.median(ratios),
                "times one rank",
                target,
                met,
                f"{ENVIRONMENTS} environments a rank; {spread(ratios)}",
            )
        )
