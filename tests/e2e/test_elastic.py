"""A job whose number of workers changes while it runs, while it rests, and by an autoscaler."""

import json
import os

import pytest

from support import condition, until

PROGRAM = """
import os, signal, sys, time
import lepton

path = os.path.join(os.environ["LEPTON_STORAGE"], "step")
step = int(open(path).read()) if os.path.exists(path) else 0
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def save(*_):
    if rank == 0:
        open(path, "w").write(str(step))
    sys.exit(143)


signal.signal(signal.SIGTERM, save)
while step < 600 and world < 3:
    step += 1
    lepton.report(step=step, total=600, world=world)
    end = time.process_time() + 0.01
    while time.process_time() < end:
        pass
    time.sleep(0.2)
"""


def elastic_job(jobs, name, **spec):
    jobs.apply(
        name,
        command=["python3", "-c", PROGRAM],
        storage={"size": "10Mi"},
        failurePolicy={"maxRestarts": 0},
        **spec,
    )
    jobs.until(
        name, "makes steps", lambda s: s["phase"] == "Running" and s.get("progress", {}).get("step")
    )


def test_a_job_is_scaled_while_it_runs_and_goes_on_for_free(jobs):
    elastic_job(jobs, "grows", workers=1, elastic={"min": 1, "max": 3})
    jobs.kubectl("scale", "ltj/grows", "--replicas=2")
    status = jobs.until(
        "grows", "has two workers", lambda s: s["attempt"] == 2 and s["phase"] == "Running"
    )
    assert status["workers"]["summary"] == "2/2"
    (ended,) = status["attempts"]
    assert ended["reason"] == "Resized"
    assert "class" not in ended
    status = jobs.until(
        "grows", "goes on", lambda s: s["progress"]["step"] > ended["step"], timeout=60
    )
    assert (status["restarts"], status["interruptions"]) == (0, 0)
    jobs.patch("grows", workers=3)
    status = jobs.finished("grows")
    assert (status["phase"], status["attempt"]) == ("Complete", 3)
    events = jobs.kubectl("get", "events", "--field-selector=reason=Resized").stdout
    assert "resized from 1 to 2 workers" in events
    assert "resized from 2 to 3 workers" in events


def test_the_workers_of_any_job_change_while_it_rests(jobs):
    elastic_job(jobs, "rests", workers=2)
    done = jobs.kubectl("scale", "ltj/rests", "--replicas=3", check=False)
    assert "workers can't change while the job runs" in done.stderr
    jobs.patch("rests", suspend=True)
    jobs.until("rests", "is suspended", lambda s: condition(s, "Suspended") == "True")
    jobs.patch("rests", workers=3, suspend=False)
    status = jobs.finished("rests")
    assert status["phase"] == "Complete"
    assert status["restarts"] == 0


def test_an_autoscaler_finds_its_way(jobs):
    elastic_job(jobs, "scaled", workers=2, elastic={"min": 1, "max": 2})
    path = f"/apis/training.lepton.ai/v1alpha1/namespaces/{jobs.namespace}/leptontrainingjobs"

    def scale():
        return json.loads(jobs.kubectl("get", "--raw", f"{path}/scaled/scale").stdout)

    until("both workers are counted", lambda: scale()["status"]["replicas"] == 2)
    assert scale()["spec"]["replicas"] == 2
    assert scale()["status"]["selector"] == "training.lepton.ai/job-name=scaled"
    assert len(jobs.items("pods", scale()["status"]["selector"])) == 2


@pytest.mark.skipif(
    os.environ.get("CLUSTER") == "existing", reason="the user's own cluster need not measure pods"
)
def test_an_autoscaler_gives_a_busy_job_all_the_workers_it_may_have(jobs):
    requests = {"requests": {"cpu": "10m"}}
    elastic_job(jobs, "busy", workers=1, elastic={"min": 1, "max": 2}, resources=requests)
    jobs.kubectl("autoscale", "ltj/busy", "--min=1", "--max=2", "--cpu=100%")
    status = jobs.until(
        "busy", "has two workers", lambda s: s["attempt"] == 2 and s["phase"] == "Running"
    )
    assert status["workers"]["summary"] == "2/2"
    (ended,) = status["attempts"]
    assert (ended["reason"], ended["message"]) == ("Resized", "resized from 1 to 2 workers")
    status = jobs.until("busy", "goes on", lambda s: s["progress"]["step"] > ended["step"])
    assert (status["restarts"], status["interruptions"]) == (0, 0)
    until("the autoscaler sees both", lambda: autoscaler(jobs)["currentReplicas"] == 2)
    assert jobs.get("ltj", "busy")["spec"]["workers"] == autoscaler(jobs)["desiredReplicas"] == 2


def autoscaler(jobs):
    """Status of the namespace's only HorizontalPodAutoscaler."""
    (found,) = jobs.items("hpa.v2.autoscaling")
    return found["status"]
