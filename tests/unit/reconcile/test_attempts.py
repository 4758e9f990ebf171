"""Counting attempts: what a restart costs, when it comes, and when there is none."""

from dataclasses import replace
from datetime import timedelta

import pytest
from situations import SETTINGS, UID, at

from lepton_operator.api.failure_policy import FailurePolicy
from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.status import Attempt, LeptonTrainingJobStatus
from lepton_operator.reconcile.attempts import (
    JITTER,
    backoff,
    judge,
    start_time,
    with_failed_attempt,
    with_next_attempt,
)
from lepton_operator.reconcile.failure import Failure

BOOM = Failure(FailureClass.APPLICATION, Reason.ERROR, "rank 0 exited with code 1", exit_code=1)
EVICTED = Failure(FailureClass.INFRASTRUCTURE, Reason.EVICTED, "evicted", exit_code=137)
POLICY = FailurePolicy(max_restarts=3, backoff_seconds=10)


def failed(status, found, policy=POLICY, ran=5, step=None):
    """The status with the failure of its current attempt, which ran for so many seconds."""
    end = start_time(status, policy, UID) + timedelta(seconds=ran)
    return with_failed_attempt(status, found, policy, UID, end, step)


def after(*failures, ran=5, policy=POLICY):
    """The status after these failures, each with the restart that follows."""
    status = LeptonTrainingJobStatus(attempt=1, start_time=at(0))
    for found in failures:
        status = failed(status, found, ran=ran)
        free = judge(status, found, policy, SETTINGS).free
        status = with_next_attempt(status, free=free)
    return status


def verdict(status, found, policy=POLICY, step=None):
    """What follows when the current attempt fails like this."""
    return judge(failed(status, found, step=step), found, policy, SETTINGS)


def policy(*rules, **more):
    return FailurePolicy.model_validate({"maxRestarts": 3, "rules": list(rules), **more})


def test_the_first_attempt_starts_at_once():
    assert start_time(after(), POLICY, UID) == at(0)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 320), (9, 600)])
def test_backoff_doubles_up_to_ten_minutes_and_is_up_to_a_quarter_longer(failures, seconds):
    found = backoff(after(*[BOOM] * failures), POLICY, UID).total_seconds()
    assert seconds <= found <= seconds * (1 + JITTER)


def test_jobs_that_failed_together_do_not_start_together():
    status = after(BOOM, BOOM, BOOM, BOOM)
    waits = {backoff(status, POLICY, f"job-{n}") for n in range(20)}
    assert len(waits) > 10
    assert backoff(status, POLICY, "job-1") == backoff(status, POLICY, "job-1")


def test_backoff_begins_anew_after_a_good_run():
    assert backoff(after(*[BOOM] * 5, ran=3600), POLICY, UID) <= timedelta(seconds=12.5)


def test_a_long_backoff_is_no_good_run():
    assert backoff(after(*[BOOM] * 10), POLICY, UID) >= timedelta(minutes=10)


def test_the_first_interruption_costs_no_backoff():
    assert backoff(after(EVICTED), POLICY, UID) == timedelta(0)
    assert backoff(after(EVICTED, EVICTED), POLICY, UID) >= timedelta(seconds=10)


def test_no_backoff_where_none_is_asked_for():
    assert backoff(after(*[BOOM] * 9), FailurePolicy(backoff_seconds=0), UID) == timedelta(0)


def test_the_next_start_is_read_from_the_status_alone():
    status = after(BOOM)
    again = LeptonTrainingJobStatus.read(status.to_json_object())
    assert start_time(again, POLICY, UID) == start_time(status, POLICY, UID)
    assert start_time(status, POLICY, UID) >= status.attempts[-1].end_time + timedelta(seconds=10)


def test_restarts_end_when_the_budget_is_used_up():
    assert verdict(after(BOOM, BOOM), BOOM).end is None
    reason, message = verdict(after(BOOM, BOOM, BOOM), BOOM).end
    assert reason is Reason.MAX_RESTARTS_EXCEEDED
    assert message == "failed after 3 restarts; at last: rank 0 exited with code 1"


def test_without_restarts_the_first_failure_is_told_as_it_is():
    found = verdict(after(), BOOM, FailurePolicy(max_restarts=0)).end
    assert found == (Reason.MAX_RESTARTS_EXCEEDED, "rank 0 exited with code 1")


def test_interruptions_have_a_budget_of_their_own():
    status = after(EVICTED, EVICTED, BOOM, BOOM, BOOM)
    assert (status.restarts, status.interruptions) == (5, 2)
    assert verdict(status, EVICTED).end is None
    assert verdict(after(EVICTED, EVICTED, BOOM, BOOM), BOOM).end is None
    reason, message = verdict(after(*[EVICTED] * 3), EVICTED).end
    assert reason is Reason.MAX_INTERRUPTIONS_EXCEEDED
    assert "evicted" in message


FAIL_ON_3 = {"exitCodes": [3], "action": "Fail"}


def test_a_rule_can_end_the_job_at_a_code():
    reason, message = verdict(after(), replace(BOOM, exit_code=3), policy(FAIL_ON_3)).end
    assert reason is Reason.FAILED_BY_RULE
    assert message == "failurePolicy.rules[0] says Fail: rank 0 exited with code 1"
    assert verdict(after(), BOOM, policy(FAIL_ON_3)).end is None


def test_the_first_rule_that_fits_decides():
    chosen = policy({"exitCodes": [1, 2], "action": "RestartFree"}, {**FAIL_ON_3, "exitCodes": [1]})
    assert verdict(after(), BOOM, chosen).free
    assert verdict(after(), BOOM, chosen).end is None


def test_a_rule_of_codes_alone_does_not_fit_interruptions():
    kill = {"exitCodes": [137], "action": "Fail"}
    assert verdict(after(), EVICTED, policy(kill)).end is None
    both = {**kill, "class": "Infrastructure"}
    assert verdict(after(), EVICTED, policy(both)).end[0] is Reason.FAILED_BY_RULE
    other = {**both, "class": "OutOfMemory"}
    assert verdict(after(), EVICTED, policy(other)).end is None


def test_a_rule_of_a_class_fits_whatever_its_code():
    chosen = policy({"class": "Application", "action": "Fail"})
    assert verdict(after(), BOOM, chosen).end[0] is Reason.FAILED_BY_RULE
    assert verdict(after(), EVICTED, chosen).end is None


def test_interruptions_can_be_made_to_count():
    counted = policy({"class": "Infrastructure", "action": "Restart"}, maxRestarts=1)
    status = after(EVICTED, policy=counted)
    assert (status.restarts, status.interruptions) == (1, 0)
    assert verdict(status, EVICTED, counted).end[0] is Reason.MAX_RESTARTS_EXCEEDED


def test_free_restarts_leave_the_budget_alone_but_end_somewhere():
    free = policy({"exitCodes": [1], "action": "RestartFree"}, maxRestarts=0)
    status = after(BOOM, BOOM, BOOM, policy=free)
    assert (status.restarts, status.interruptions) == (3, 3)
    assert verdict(status, BOOM, free).end[0] is Reason.MAX_INTERRUPTIONS_EXCEEDED


def at_step(step, rank=1):
    return replace(BOOM, rank=rank), step


def after_steps(*found):
    """The status after failures with these ranks at these steps, and one more restart."""
    status = LeptonTrainingJobStatus(attempt=1, start_time=at(0))
    for failure, step in found:
        status = with_next_attempt(failed(status, failure, step=step), free=False)
    return status


def test_the_same_rank_at_the_same_step_is_told_and_then_ends_the_job():
    many = policy(maxRestarts=100)
    failure, step = at_step(40)
    assert verdict(after_steps(), failure, many, step).warning is None
    again = verdict(after_steps(at_step(40)), failure, many, step)
    assert again.end is None
    assert again.warning == "rank 1 failed at step 40 in 2 attempts; after 3 the job fails"
    reason, message = verdict(after_steps(at_step(40), at_step(40)), failure, many, step).end
    assert reason is Reason.REPEATED_FAILURE
    assert message == ("rank 1 failed at step 40 in 3 attempts; at last: rank 0 exited with code 1")


@pytest.mark.parametrize(
    "before",
    [
        [at_step(40), at_step(41)],
        [at_step(40), at_step(40, rank=0)],
        [at_step(40), at_step(None)],
    ],
)
def test_another_rank_or_step_is_another_failure(before):
    failure, step = at_step(40)
    found = verdict(after_steps(*before), failure, policy(maxRestarts=100), step)
    assert (found.end, found.warning) == (None, None)


@pytest.mark.parametrize("step", [None, 0])
def test_failures_before_the_first_step_are_not_held_to_be_the_same(step):
    before = [at_step(step)] * 5
    found = verdict(after_steps(*before), before[0][0], policy(maxRestarts=100), step)
    assert (found.end, found.warning) == (None, None)


def test_interruptions_between_the_same_failures_tell_nothing():
    failure, step = at_step(40)
    status = after_steps((failure, step), (EVICTED, 60), (failure, step))
    assert verdict(status, failure, policy(maxRestarts=9), step).end[0] is Reason.REPEATED_FAILURE


def test_a_rule_that_says_restart_goes_before_the_count_of_same_failures():
    failure, step = at_step(40)
    chosen = policy({"exitCodes": [1], "action": "Restart"}, maxRestarts=9)
    status = after_steps(*[(failure, step)] * 5)
    assert verdict(status, failure, chosen, step).end is None


def test_what_is_invalid_is_never_tried_again():
    wrong = Failure(FailureClass.INVALID, Reason.IMAGE_PULL_FAILED, "no image")
    assert verdict(after(), wrong).end == (Reason.IMAGE_PULL_FAILED, "no image")


def test_the_last_ten_attempts_are_kept():
    status = after(*[BOOM] * 14)
    assert [a.number for a in status.attempts] == list(range(5, 15))
    assert status.attempt == 15


def test_an_attempt_keeps_all_that_is_known_of_it():
    failure = Failure(FailureClass.APPLICATION, Reason.ERROR, "boom", 1, 3, "node-1")
    status = with_failed_attempt(after(), failure, POLICY, UID, at(9), step=700)
    assert status.attempts == [
        Attempt(
            number=1,
            start_time=at(0),
            end_time=at(9),
            failure_class=FailureClass.APPLICATION,
            reason="Error",
            message="boom",
            rank=1,
            exit_code=3,
            node="node-1",
            step=700,
        )
    ]
