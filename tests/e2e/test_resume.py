"""Training that begins where another job's ended."""

import json

import pytest

from support import failed

STORAGE = {"claimName": "shared"}


@pytest.fixture
def claim(jobs):
    """A claim that outlives jobs."""
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Mi"}},
        },
    }
    jobs.kubectl("apply", "-f", "-", input=json.dumps(manifest))


def train(jobs, name, steps, **more):
    """A job that trains up to so many steps; its status at the end."""
    checkpoint = more.pop("checkpoint", {})
    jobs.apply(
        name,
        environment={"count": 16},
        trainer={"maxSteps": steps},
        evaluation={"episodes": 4},
        checkpoint={"everySeconds": 1, **checkpoint},
        **more,
    )
    return jobs.finished(name)


@pytest.mark.parametrize("storage", [STORAGE, {"size": "100Mi"}], ids=["same", "other"])
def test_a_job_begins_from_the_run_of_another(jobs, claim, storage):
    first = train(jobs, "first", 10_000, storage=STORAGE)
    assert first["phase"] == "Complete"
    run = first["model"]["uri"].removesuffix("/model/agent.pth")
    assert run.startswith("pvc://shared/first-")
    second = train(jobs, "second", 20_000, storage=storage, checkpoint={"resumeFrom": run})
    assert second["phase"] == "Complete"
    assert second["progress"]["step"] >= 20_000
    log = jobs.kubectl("logs", "job/second-1").stdout
    assert f"resumed from the checkpoint at step {first['progress']['step']:,}" in log


def test_a_job_that_finds_no_checkpoint_to_begin_from_fails_at_once_and_says_where(jobs, claim):
    status = train(
        jobs, "lost", 10_000, storage=STORAGE, checkpoint={"resumeFrom": "nobody-12345678"}
    )
    assert failed(status)["reason"] == "InvalidSpec"
    assert (
        "no checkpoint to resume from in /lepton/storage/nobody-12345678"
        in (failed(status)["message"])
    )
    assert status["restarts"] == 0
