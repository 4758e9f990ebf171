"""What each algorithm learns with its defaults, over several seeds."""

import statistics
from dataclasses import dataclass
from typing import Any

from figures import Figure, Report, at_least, spread

from library.runs import ROOT, run_all


@dataclass(frozen=True)
class Task:
    """One algorithm in one environment, and the mean reward that it should reach."""

    algorithm: str
    environment: str
    threshold: float
    steps: int


TASKS = (
    Task("PPO", "CartPole-v1", 475, 500_000),
    Task("PQN", "CartPole-v1", 475, 500_000),
    Task("DQN", "CartPole-v1", 475, 500_000),
    Task("PPO", "Acrobot-v1", -100, 1_000_000),
    Task("DQN", "Acrobot-v1", -100, 500_000),
    Task("PPO", "LunarLander-v3", 200, 5_000_000),
    Task("SAC", "Pendulum-v1", -200, 20_000),
)
EPISODES = 100
"""Of the final evaluation of a task."""
SCENARIO_EPISODES = 1024
SCENARIO_RUNS = ROOT / "build" / "bench" / "scenarios"
"""Models and learning curves, of which `make docs` makes pictures."""
MINUTES = 10.0


def measure_tasks(report: Report, seeds: int, jobs: int) -> None:
    """Environments that everybody knows."""
    settings: list[dict[str, Any]] = [
        {
            "environment": task.environment,
            "algorithm": task.algorithm,
            "hyperparameters": {},
            # Pendulum is judged after a fixed number of steps.
            "threshold": None if task.algorithm == "SAC" else task.threshold,
            "steps": task.steps,
            "seed": seed,
            "episodes": EPISODES,
        }
        for task in TASKS
        for seed in range(seeds)
    ]
    results = run_all("train_one.py", settings, jobs)
    for i, task in enumerate(TASKS):
        mine = results[i * seeds : (i + 1) * seeds]
        report_rewards(report, f"{task.algorithm} {task.environment}", mine, task.threshold)


def measure_scenarios(report: Report, seeds: int, jobs: int, only: str = "") -> None:
    """Every scenario with the agent that its example names, judged by score."""
    found = sorted((ROOT / "examples" / "scenarios").glob("*.yaml"))
    manifests = [path for path in found if only in path.stem]
    settings = [
        {
            "manifest": str(path),
            "seed": seed,
            "episodes": SCENARIO_EPISODES,
            "keep": str(SCENARIO_RUNS),
        }
        for path in manifests
        for seed in range(seeds)
    ]
    results = run_all("train_one.py", settings, jobs)
    for i, path in enumerate(manifests):
        report_rewards(report, f"lepton/{path.stem}", results[i * seeds : (i + 1) * seeds], 100.0)


def report_rewards(
    report: Report, name: str, results: list[dict[str, Any]], threshold: float
) -> None:
    """The median reward, and how long it took on one core."""
    rewards = [one["reward"] for one in results]
    seconds = statistics.median(one["seconds"] for one in results)
    steps = statistics.median(one["steps"] for one in results)
    error = statistics.median(one["error"] for one in results)
    target, met = at_least(statistics.median(rewards), threshold)
    detail = (
        f"{spread(rewards)}, each ± {error:.2g}; {steps:,.0f} steps, {seconds:.0f} s of one core"
    )
    met = met and seconds <= MINUTES * 60
    report.add(Figure(name, statistics.median(rewards), "", target, met, detail))
