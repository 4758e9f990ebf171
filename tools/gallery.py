"""`make docs`: pictures and the table of lepton's own environments, from the runs of the benchmark.

Each picture has a frame of the trained agent on its left and the learning curves of all seeds on
its right. What has not been run yet is trained first, with one seed.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from lepton import Agent
from lepton.environments.batched import SingleEnv
from lepton.environments.scenarios import make_scenario
from lepton.errors import InputError
from steps import ROOT, say

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RUNS = ROOT / "build" / "bench" / "scenarios"
PAGES = ROOT / "docs" / "environments"
PICTURES = ROOT / "docs" / "images" / "environments"
BEGIN, END = "<!-- made by `make docs` -->", "<!-- until here -->"


@dataclass(frozen=True)
class Run:
    """One seed of one scenario."""

    seed: int
    model: Path
    measured: dict[str, Any]


def runs_of(name: str) -> list[Run]:
    """What the benchmark kept of a scenario, by seed."""
    found = []
    for path in sorted((RUNS / name).glob("seed-*.json")):
        seed = int(path.stem.removeprefix("seed-"))
        found.append(Run(seed, path.with_suffix(".pth"), json.loads(path.read_text())))
    return found


def train(name: str) -> None:
    """Let the benchmark make one run."""
    say(f"training lepton/{name}, which has not been run yet")
    command = ["make", "bench-library", "PARTS=scenarios", "SEEDS=1", f"ONLY={name}"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)


def frame(name: str, run: Run) -> np.ndarray[Any, Any]:
    """What the environment looks like two thirds into an episode of the trained agent."""
    agent = Agent.load_model(run.model)
    frames = []
    environment = SingleEnv(make_scenario(name), render_mode="rgb_array")
    observation, _ = environment.reset(seed=1)
    over = False
    while not over:
        observation, _, terminated, truncated, _ = environment.step(agent.act(observation))
        frames.append(environment.render())
        over = terminated or truncated
    chosen = frames[len(frames) * 2 // 3]
    assert chosen is not None
    return chosen


def draw(name: str, runs: list[Run], middle: Run) -> None:
    """The picture of a scenario."""
    picture = frame(name, middle)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(5, 4))
    left.imshow(picture)
    left.axis("off")
    for run in runs:
        steps, scores = zip(*run.measured["curve"], strict=True)
        right.plot(np.array(steps) / 1e6, scores, marker=".", alpha=0.7, label=f"seed {run.seed}")
    right.axhline(100, color="#22303c", linewidth=1, linestyle="--")
    right.axhline(0, color="#9aa7b1", linewidth=1, linestyle=":")
    right.set_xlabel("environment steps, millions")
    right.set_ylabel("score (0 random, 100 reference)")
    right.set_title(f"lepton/{name}")
    right.legend(frameon=False, fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"{name}.png", dpi=80)
    plt.close(figure)


def row(name: str, runs: list[Run]) -> str:
    """The scenario's line in the table."""
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    task = page.split("\n\n")[1].split(". ")[0].rstrip(".")
    scores = [run.measured["reward"] for run in runs]
    seconds = statistics.median(run.measured["seconds"] for run in runs)
    steps = statistics.median(run.measured["steps"] for run in runs)
    return (
        f"| [{name}]({name}.md) | {task} | {statistics.median(scores):.1f} "
        f"({min(scores):.1f} to {max(scores):.1f}, {len(runs)} seeds) | {steps / 1e6:.1f} M | "
        f"{seconds:.0f} s |"
    )


def main() -> None:
    """Make all pictures and the table."""
    names = sorted(path.stem for path in (ROOT / "examples" / "scenarios").glob("*.yaml"))
    rows, pictures = [], []
    for name in names:
        if not runs_of(name):
            train(name)
        runs = sorted(runs_of(name), key=lambda run: run.measured["reward"])
        if not runs:
            sys.exit(f"make docs: lepton/{name} could not be trained")
        say(f"drawing lepton/{name}")
        draw(name, sorted(runs, key=lambda run: run.seed), runs[len(runs) // 2])
        rows.append(row(name, runs))
        pictures.append(f"![{name}](../images/environments/{name}.png)")
    head = "| id `lepton/…` | task | median score | steps | one core |\n|---|---|---|---|---|"
    table = "\n".join([head, *rows])
    index = PAGES / "README.md"
    before, _, rest = index.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    gallery = "\n\n".join(pictures)
    index.write_text(f"{before}{BEGIN}\n\n{table}\n\n{gallery}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        again = f"`rm -r {RUNS.relative_to(ROOT)}/<name>` has it trained again"
        sys.exit(f"make docs: {error}; {again}")
