"""`lepton train`: an agent in any environment, without a manifest and without a script."""

import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from lepton.agents.agent import Agent
from lepton.environments.environment import Environment
from lepton.errors import InputError, Interrupted
from lepton.reporting.reporter import REPORTER
from lepton.spec.agent import Algorithm
from lepton.spec.report import Progress
from lepton.training.console import Console
from lepton.training.interruption import EXIT_CODE, STOP
from lepton.training.tracking import trackers_of_the_environment
from lepton.training.trainer import Trainer, TrainingResult

EVALUATIONS = 20
"""Evaluations in a run, and so the points of the score over time."""
LONGEST_SILENCE = 60.0
"""Seconds after which a log gets a line even if there was no evaluation."""
EXIT_CTRL_C = 128 + signal.SIGINT


def train(
    environment: str,
    steps: int,
    *,
    algorithm: str | None,
    seed: int,
    settings: Sequence[str],
    copies: int | None,
    output: str | None,
) -> int:
    """Train and save the model; the exit code. Raises LeptonError."""
    made = Environment(environment, count=copies)
    agent = Agent(
        made.action_space,
        algorithm=algorithm or Algorithm.PPO,
        hyperparameters=_hyperparameters(settings),
    )
    # A folder that is named is gone on with. Otherwise it is a new one, since another run in the
    # same environment may well have other settings.
    folder = Path(output) if output is not None else _new_folder(made.name)
    scale = _scale(made)
    every = max(1, steps // EVALUATIONS)
    trainer = Trainer(
        made,
        agent,
        max_steps=steps,
        seed=seed,
        save_model=True,
        evaluate_every=every,
        storage=folder,
        progress=_ScoreConsole(scale, every),
        trackers=trackers_of_the_environment(),
    )
    print(f"{made.name}: {agent.algorithm}, {steps:,} steps, seed {seed}", file=sys.stderr)
    with STOP.graceful():
        ctrl_c = _CtrlC()
        try:
            result = trainer.train()
        except Interrupted:
            REPORTER.write_last_word()
            print(f"to go on, add --output {folder} to the same command", file=sys.stderr)
            sys.stderr.flush()
            os._exit(EXIT_CTRL_C if ctrl_c.pressed else EXIT_CODE)
    _print_result(result, folder, scale)
    return 0


def _hyperparameters(settings: Sequence[str]) -> dict[str, Any]:
    """What `--set name=value` gives, values as YAML has them."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, sign, text = setting.partition("=")
        if not sign or not name:
            raise InputError(f"--set {setting}: write --set name=value")
        try:
            values[name] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InputError(f"--set {setting}: {text} is no value") from None
    return values


def _new_folder(name: str) -> Path:
    """A folder for a run in this environment that is not there yet."""
    last = re.split("[/:]", name)[-1]
    names = (last if n == 1 else f"{last}-{n}" for n in count(1))
    return next(
        folder for folder in (Path("lepton-runs") / n for n in names) if not folder.exists()
    )


def _scale(environment: Environment) -> str:
    """What the scores of this environment mean."""
    batch = environment.make_batch(1)
    scenario = getattr(batch.unwrapped, "scenario", None)
    batch.close()
    judged = scenario is not None and scenario.returns is not None
    return "0 random, 100 reference" if judged else "sum of rewards"


class _ScoreConsole(Console):
    """In a log, the score over time: a line after each evaluation. On a terminal, as ever."""

    def __init__(self, scale: str, every: int) -> None:
        super().__init__(True)
        self._scale, self._every = scale, every
        self._next = every
        self._last_line = time.monotonic()

    def progress(self, progress: Progress) -> None:
        """Show progress, if there is news."""
        if self._terminal:
            return super().progress(progress)
        now = time.monotonic()
        if progress.step < self._next and now - self._last_line < LONGEST_SILENCE:
            return None
        self._next = (progress.step // self._every + 1) * self._every
        self._last_line = now
        parts = [f"step {progress.step:,}"]
        if progress.total_steps:
            parts[0] += f" of {progress.total_steps:,}"
        score = progress.metrics.get("evaluation_reward_mean")
        if score is not None:
            parts.append(f"score {score:.1f} ({self._scale})")
        if progress.steps_per_second:
            parts.append(f"{progress.steps_per_second:,.0f} steps/s")
        return self.say(" · ".join(parts))


class _CtrlC:
    """Ctrl-C ends training as SIGTERM does, with a checkpoint; pressed again, at once."""

    def __init__(self) -> None:
        self.pressed = False
        signal.signal(signal.SIGINT, self._press)

    def _press(self, number: int, _: FrameType | None) -> None:
        self.pressed = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _print_result(result: TrainingResult, folder: Path, scale: str) -> None:
    evaluation = result.evaluation
    print(
        f"score {evaluation.reward_mean:.1f} ± {evaluation.reward_standard_deviation:.1f} "
        f"({scale}) over {evaluation.episodes} episodes"
    )
    assert result.model is not None
    path = folder / result.model.path
    others = [str(path.with_suffix(f".{suffix}")) for suffix in result.model.formats]
    print("files:", *others)
