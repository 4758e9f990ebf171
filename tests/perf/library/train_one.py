"""Trains one agent, as the example manifest or the arguments say, and prints what it reached."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lepton import Agent, Environment, Trainer
from lepton.cli.manifest import read_manifest

EVALUATIONS = 20
"""Of a run without a threshold, evenly spread."""


class Curve:
    """A tracker that keeps the evaluations."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the evaluation, if it is one."""
        if "evaluation_reward_mean" in values:
            self.points.append((step, values["evaluation_reward_mean"]))


def from_manifest(path: str, seed: int, episodes: int, keep: str) -> dict[str, Any]:
    """The job of a manifest, with another seed and a larger final evaluation, to the last of its
    steps, whatever it reaches before.

    The model and what was measured are kept in a folder, for pictures.
    """
    spec = read_manifest(path).spec
    assert spec.environment is not None
    agent = spec.agent
    assert agent is not None
    folder = Path(keep) / Path(path).stem
    folder.mkdir(parents=True, exist_ok=True)
    result = train(
        Environment.from_spec(spec.environment),
        algorithm=agent.algorithm,
        hyperparameters=agent.hyperparameters,
        threshold=None,
        steps=spec.trainer.step_limit if spec.trainer else None,
        seed=seed,
        episodes=episodes,
        evaluation_episodes=spec.evaluation.episodes if spec.evaluation else 32,
        model=folder / f"seed-{seed}.pth",
    )
    (folder / f"seed-{seed}.json").write_text(json.dumps(result))
    return result


def train(
    environment: Environment,
    *,
    algorithm: str,
    hyperparameters: dict[str, Any],
    threshold: float | None,
    steps: int | None,
    seed: int,
    episodes: int,
    evaluation_episodes: int = 32,
    model: Path | None = None,
) -> dict[str, Any]:
    """Train until the threshold is reached, or for so many steps; judge what did best in some
    evaluations with `episodes` new episodes."""
    agent = Agent(
        environment.action_space,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        reward_threshold=threshold,
    )
    curve = Curve()
    trainer = Trainer(
        environment,
        agent,
        max_steps=steps,
        seed=seed,
        trackers=[curve],
        progress=False,
        evaluation_episodes=evaluation_episodes,
        evaluate_every=max(1, steps // EVALUATIONS) if threshold is None and steps else None,
    )
    begin = time.process_time()
    result = trainer.train()
    seconds = time.process_time() - begin
    trainer._evaluation_episodes = episodes
    trainer._evaluator = None
    judged = trainer.evaluate()
    if model is not None:
        agent.save_model(model)
    return {
        "curve": curve.points,
        "reward": judged.reward_mean,
        "error": judged.reward_standard_deviation / judged.episodes**0.5,
        "steps": result.steps,
        "seconds": seconds,
    }


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """A manifest's path, or an environment's id and the rest of `train`."""
    if "manifest" in arguments:
        path = str(Path(arguments.pop("manifest")))
        return from_manifest(path, **arguments)
    count = arguments.pop("count", None)
    return train(Environment(arguments.pop("environment"), count=count), **arguments)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
