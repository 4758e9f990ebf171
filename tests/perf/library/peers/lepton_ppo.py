"""Lepton's PPO with its defaults, as `Trainer` runs it."""

import json
import sys
from typing import Any

import torch
from evaluation import Stopwatch

from lepton import Agent, Environment, Trainer


class Watched(Trainer):
    """Looks at the stopwatch after every update."""

    stopwatch: Stopwatch

    def _tell(self) -> None:
        super()._tell()
        steps = self._record.counters.steps
        if steps:
            self.stopwatch.look(steps, self._act)

    def _act(self, observations: Any) -> Any:
        return self.agent.act_on_batch(torch.from_numpy(observations))


def main(seed: int, steps: int, count: int | None = None) -> dict[str, Any]:
    """Train for so many steps."""
    environment = Environment(count=count)
    agent = Agent(environment.action_space)
    trainer = Watched(environment, agent, max_steps=steps, seed=seed, progress=False)
    trainer.stopwatch = Stopwatch()
    # A final evaluation of one episode, since the stopwatch makes its own.
    trainer._evaluation_episodes = 1
    result = trainer.train()
    return trainer.stopwatch.result(result.steps)


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
