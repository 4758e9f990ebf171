"""Training that runs and does not get on: found, told, restarted or ended."""

from support import condition, failed

HANGS_AT_STEP_5 = """
import time, lepton
for step in range(1, 6):
    lepton.report(step=step, total=100)
    time.sleep(0.1)
time.sleep(3600)
"""

LOSES_ITS_LOSS = """
import time, lepton
for step in range(3600):
    lepton.report(step=step, loss=0.5 if step < 25 else float("nan"))
    time.sleep(1)
"""


def reasons(jobs):
    """Reasons of the namespace's events."""
    return [event["reason"] for event in jobs.items("events")]


def test_a_program_that_hangs_is_given_up_and_started_again(jobs):
    jobs.apply(
        "hangs",
        command=["python3", "-c", HANGS_AT_STEP_5],
        progressDeadlineSeconds=15,
        failurePolicy={"maxRestarts": 1, "backoffSeconds": 1},
    )
    status = jobs.finished("hangs", timeout=400)
    assert failed(status)["reason"] == "MaxRestartsExceeded"
    assert [(a["class"], a["reason"], a["step"]) for a in status["attempts"]] == [
        ("Stalled", "NoProgress", 5)
    ] * 2, status["attempts"]
    assert "the last one was 5" in failed(status)["message"]
    assert condition(status, "Stalled") == "True"
    assert "NoProgress" in reasons(jobs)


def test_a_loss_that_turns_nan_ends_the_job_as_its_rule_says(jobs):
    jobs.apply(
        "nan",
        command=["python3", "-c", LOSES_ITS_LOSS],
        failurePolicy={"rules": [{"class": "Stalled", "action": "Fail"}]},
    )
    status = jobs.until("nan", "stalls", lambda s: condition(s, "Stalled") == "True")
    assert condition(status, "Failed") != "True", "it may still recover"
    status = jobs.finished("nan")
    assert failed(status)["reason"] == "FailedByRule"
    (attempt,) = status["attempts"]
    assert (attempt["class"], attempt["reason"]) == ("Stalled", "NonFiniteMetrics"), attempt
    assert "loss is not finite any more" in attempt["message"]
    assert "NonFiniteMetrics" in reasons(jobs)


def test_training_that_gets_on_is_left_alone(jobs):
    jobs.apply(
        "steady",
        environment={"count": 64},
        trainer={"maxSteps": 100_000_000},
        progressDeadlineSeconds=20,
    )
    begun = jobs.until("steady", "steps", lambda s: s.get("progress", {}).get("lastStepTime"))
    status = jobs.until(
        "steady",
        "steps again",
        lambda s: s["progress"]["lastStepTime"] > begun["progress"]["lastStepTime"],
    )
    assert status["attempt"] == 1
    assert condition(status, "Stalled") is None
