"""An environment class of one's own, brought by a ConfigMap, trains by its entry point."""

import json
import re

MODULE = """
import os
import time
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


class Killer(Line):
    'A thousand steps a second at most; kills rank 1 in the first attempt, rank 0 in the second.'

    def __init__(self, at_step):
        super().__init__()
        attempt = int(os.environ["PET_RDZV_ID"].rpartition("-")[2])
        self.last = at_step if attempt + int(os.environ["RANK"]) == 2 else None
        self.made = 0

    def step(self, action):
        time.sleep(0.001)
        self.made += 1
        if self.made == self.last:
            os._exit(9)
        return super().step(action)
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
    assert attempt["class"] == "Application", attempt
    assert (attempt["rank"], attempt["exitCode"]) == (1, 1), attempt
    assert "LookupError: the line has no field here" in attempt["message"]
    assert "mine.py" in attempt["message"]


def test_whichever_worker_is_killed_no_more_than_a_checkpoint_interval_is_lost(jobs):
    workers, count, horizon, at_step = 2, 2, 64, 750
    jobs.apply(
        "killed",
        **with_module(jobs),
        environment={
            "entryPoint": "mine:Killer",
            "count": count,
            "parameters": {"at_step": at_step},
        },
        agent={"hyperparameters": {"horizon": horizon, "epochs": 1, "minibatches": 1}},
        trainer={"maxSteps": 6_144},
        evaluation={"episodes": 2},
        checkpoint={"everySeconds": 1},
        storage={"size": "100Mi"},
        workers=workers,
        failurePolicy={"maxRestarts": 2, "backoffSeconds": 1},
    )
    # All environments step together, those of one worker one after the other.
    made, update, interval = (at_step * count * workers, horizon * count * workers, 1_000 * workers)
    status = jobs.finished("killed")
    assert status["phase"] == "Complete", status
    told = [
        (attempt["class"], attempt["rank"], attempt["exitCode"]) for attempt in status["attempts"]
    ]
    assert told == [("Application", 1, 9), ("Application", 0, 9)], status["attempts"]
    begun = 0
    for attempt in (2, 3):
        selector = f"training.lepton.ai/job-name=killed,training.lepton.ai/attempt={attempt}"
        log = jobs.kubectl("logs", "--selector", selector, "--tail=-1").stdout
        found = re.search(r"resumed from the checkpoint at step ([0-9,]+)", log)
        assert found, log
        resumed = int(found[1].replace(",", ""))
        print(f"killed at step {begun + made}, went on from {resumed}")
        assert 0 <= begun + made - resumed <= interval + update
        begun = resumed
