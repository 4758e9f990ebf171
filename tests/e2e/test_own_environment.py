"""An environment class of one's own, brought by a ConfigMap, trains by its entry point."""

import json

MODULE = """
import os
import gymnasium
import numpy as np


class Line(gymnasium.Env):
    'Walk to the right end of a line of ten fields.'

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, raises_in_rank=None):
        self.raises_in_rank = raises_in_rank

    def observation(self):
        return np.array([self.place / 10], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        return self.observation(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 5 and os.environ.get("RANK") == str(self.raises_in_rank):
            raise LookupError("the line has no field here")
        self.place = max(0, self.place + (1 if action else -1))
        done = self.place == 10
        return self.observation(), float(done) - 0.01, done, self.steps >= 50, {}
"""


def with_module(jobs) -> dict[str, object]:
    """Makes the ConfigMap; returns what lets a job's workers import it."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mine"},
        "data": {"mine.py": MODULE},
    }
    jobs.kubectl("apply", "-f", "-", input=json.dumps(config_map))
    return {
        "env": [{"name": "PYTHONPATH", "value": "/mine"}],
        "template": {
            "volumes": [{"name": "mine", "configMap": {"name": "mine"}}],
            "volumeMounts": [{"name": "mine", "mountPath": "/mine"}],
        },
    }


def test_four_workers_train_in_an_environment_of_ones_own(jobs):
    jobs.apply(
        "line",
        **with_module(jobs),
        environment={"entryPoint": "mine:Line", "count": 8},
        agent={"rewardThreshold": 0.8},
        trainer={"maxSteps": 60_000},
        evaluation={"episodes": 4},
        workers=4,
    )
    status = jobs.finished("line")
    assert status["phase"] == "Complete", status
    assert status["workers"]["summary"] == "4/4"
    assert status["evaluation"]["passed"]


def test_an_error_of_ones_own_environment_in_rank_1_names_rank_line_and_place(jobs):
    jobs.apply(
        "breaks",
        **with_module(jobs),
        environment={
            "entryPoint": "mine:Line",
            "count": 2,
            "parameters": {"raises_in_rank": 1},
        },
        trainer={"maxSteps": 60_000},
        workers=2,
        failurePolicy={"maxRestarts": 0},
    )
    status = jobs.finished("breaks")
    assert status["phase"] == "Failed"
    (attempt,) = status["attempts"]
    assert attempt["class"] == "Application"
    assert (attempt["rank"], attempt["exitCode"]) == (1, 1)
    assert "LookupError: the line has no field here" in attempt["message"]
    assert "mine.py" in attempt["message"]
