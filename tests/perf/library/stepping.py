"""How many steps a second lepton's own environments make, as one batch on one core."""

import json
import sys
import time

import numpy as np

from lepton.environments.batched import BatchedVectorEnv
from lepton.environments.noise import uniform
from lepton.environments.scenarios import make_scenario
from lepton.environments.spaces import random_actions, random_numbers

BATCH = 4096
SMALL = ("CartPole", "safe-danger")
"""Environments of a handful of numbers, of which more is asked."""
SECONDS = 1.0


def steps_per_second(name: str) -> float:
    """The best of several bouts with random actions, episodes restarting as they end."""
    scenario = make_scenario(name)
    batch = BatchedVectorEnv(scenario, BATCH)
    seeds = np.arange(BATCH, dtype=np.int64)
    numbers = random_numbers(scenario.action_space)
    actions = [
        random_actions(scenario.action_space, uniform(seeds, seeds * 0 + i, numbers))
        for i in range(16)
    ]
    batch.reset(seed=0)
    best = 0.0
    for _ in range(5):
        begin, steps = time.process_time(), 0
        while time.process_time() - begin < SECONDS:
            for action in actions:
                batch.step(action)
            steps += len(actions) * BATCH
        best = max(best, steps / (time.process_time() - begin))
    return best


if __name__ == "__main__":
    print(json.dumps({"steps_per_second": steps_per_second(**json.loads(sys.argv[1]))}))
