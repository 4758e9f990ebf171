"""Counting attempts: what a restart costs, when it comes, and when there is none."""

from datetime import timedelta

import pytest
from situations import SETTINGS, at

from lepton_operator.api.names import FailureClass, Reason
from lepton_operator.api.spec import FailurePolicy
from lepton_operator.api.status import Attempt, LeptonTrainingJobStatus
from lepton_operator.reconcile.attempts import (
    backoff,
    exhausted,
    start_time,
    with_failed_attempt,
    with_next_attempt,
)
from lepton_operator.reconcile.failure import Failure

BOOM = Failure(FailureClass.APPLICATION, Reason.ERROR, "rank 0 exited with code 1")
EVICTED = Failure(FailureClass.INFRASTRUCTURE, Reason.EVICTED, "evicted")
POLICY = FailurePolicy(max_restarts=3, backoff_seconds=10)


def after(*failures, ran=5):
    """The status after these failures, each attempt having run for so many seconds."""
    status = LeptonTrainingJobStatus(attempt=1, start_time=at(0))
    for found in failures:
        end = start_time(status, POLICY) + timedelta(seconds=ran)
        status = with_failed_attempt(status, found, POLICY, end, None)
        status = with_next_attempt(status, found)
    return status


def test_the_first_attempt_starts_at_once():
    assert start_time(after(), POLICY) == at(0)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 10), (2, 20), (3, 40), (6, 320), (9, 600)])
def test_backoff_doubles_up_to_ten_minutes(failures, seconds):
    assert backoff(after(*[BOOM] * failures), POLICY) == timedelta(seconds=seconds)


def test_backoff_begins_anew_after_a_good_run():
    assert backoff(after(*[BOOM] * 5, ran=3600), POLICY) == timedelta(seconds=10)


def test_a_long_backoff_is_no_good_run():
    assert backoff(after(*[BOOM] * 10), POLICY) == timedelta(minutes=10)


def test_the_first_interruption_costs_no_backoff():
    assert backoff(after(EVICTED), POLICY) == timedelta(0)
    assert backoff(after(EVICTED, EVICTED), POLICY) == timedelta(seconds=10)


def test_no_backoff_where_none_is_asked_for():
    assert backoff(after(*[BOOM] * 9), FailurePolicy(backoff_seconds=0)) == timedelta(0)


def test_the_next_start_is_read_from_the_status_alone():
    status = after(BOOM)
    again = LeptonTrainingJobStatus.read(status.to_json_object())
    assert start_time(again, POLICY) == status.attempts[-1].end_time + timedelta(seconds=10)


def test_restarts_end_when_the_budget_is_used_up():
    assert exhausted(after(BOOM, BOOM), BOOM, POLICY, SETTINGS) is None
    reason, message = exhausted(after(BOOM, BOOM, BOOM), BOOM, POLICY, SETTINGS)
    assert reason is Reason.MAX_RESTARTS_EXCEEDED
    assert message == "failed after 3 restarts; at last: rank 0 exited with code 1"


def test_without_restarts_the_first_failure_is_told_as_it_is():
    found = exhausted(after(), BOOM, FailurePolicy(max_restarts=0), SETTINGS)
    assert found == (Reason.MAX_RESTARTS_EXCEEDED, "rank 0 exited with code 1")


def test_interruptions_have_a_budget_of_their_own():
    status = after(EVICTED, EVICTED, BOOM, BOOM, BOOM)
    assert (status.restarts, status.interruptions) == (5, 2)
    assert exhausted(status, EVICTED, POLICY, SETTINGS) is None
    assert exhausted(after(EVICTED, EVICTED, BOOM, BOOM), BOOM, POLICY, SETTINGS) is None
    reason, message = exhausted(after(*[EVICTED] * 3), EVICTED, POLICY, SETTINGS)
    assert reason is Reason.MAX_INTERRUPTIONS_EXCEEDED
    assert "evicted" in message


def test_what_is_invalid_is_never_tried_again():
    wrong = Failure(FailureClass.INVALID, Reason.IMAGE_PULL_FAILED, "no image")
    assert exhausted(after(), wrong, POLICY, SETTINGS) == (Reason.IMAGE_PULL_FAILED, "no image")


def test_the_last_ten_attempts_are_kept():
    status = after(*[BOOM] * 14)
    assert [a.number for a in status.attempts] == list(range(5, 15))
    assert status.attempt == 15


def test_an_attempt_keeps_all_that_is_known_of_it():
    failure = Failure(FailureClass.APPLICATION, Reason.ERROR, "boom", 1, 3, "node-1")
    status = with_failed_attempt(after(), failure, POLICY, at(9), step=700)
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
