"""PPO where environments, agent and rollouts never leave one GPU: steps a second in training."""

import statistics
import time
from dataclasses import dataclass

import torch
from figures import Figure, Report, at_least, spread

from lepton import Agent, Environment, Trainer

NAMES = ("CartPole", "microgrid", "robot-navigation")
BOUND = 1_000_000


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    environments: int
    updates: int
    warm_up: int
    """Updates before the clock starts, in which kernels are loaded and memory is taken."""


FULL = Size(environments=16_384, updates=40, warm_up=5)
"""Even with so many environments most kernels take longer to start than they work."""


class Watched(Trainer):
    """Notes when each update was done, on the device too."""

    marks: list[tuple[int, float]]
    """(steps so far, seconds)."""

    def _tell(self) -> None:
        super()._tell()
        steps = self._record.counters.steps
        if steps > self.marks[-1][0]:
            if self._group.device.type == "cuda":
                torch.cuda.synchronize()
            self.marks.append((steps, time.perf_counter()))


def steps_per_second(name: str, device: str, size: Size, seed: int) -> float:
    """Of PPO with its defaults, without the evaluation at the end."""
    environment = Environment(f"lepton/{name}", device=device, count=size.environments)
    agent = Agent(environment.action_space)
    horizon = agent.hyperparameters.model_dump()["horizon"]
    trainer = Watched(
        environment,
        agent,
        max_steps=(size.warm_up + size.updates) * size.environments * horizon,
        seed=seed,
        evaluation_episodes=1,
        progress=False,
    )
    trainer.marks = [(0, time.perf_counter())]
    trainer.train()
    (first, begin), (last, end) = trainer.marks[size.warm_up], trainer.marks[-1]
    return (last - first) / (end - begin)


def measure(report: Report, rounds: int, device: str = "cuda", size: Size = FULL) -> None:
    """Each environment in turn; without a GPU nothing but a line that says so."""
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu: torch finds no CUDA device here, so this part measures nothing", flush=True)
        return
    called = torch.cuda.get_device_name() if device == "cuda" else f"torch's {device}"
    print(f"gpu: {called}", flush=True)
    for name in NAMES:
        speeds = [steps_per_second(name, device, size, seed) for seed in range(rounds)]
        target, met = at_least(statistics.median(speeds), BOUND)
        detail = f"{called}, PPO in {size.environments:,} environments; {spread(speeds)}"
        figure = f"training {name} on a GPU"
        report.add(Figure(figure, statistics.median(speeds), "steps/s", target, met, detail))
