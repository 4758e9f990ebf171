"""More memory after running out of it, and how much the namespace lets it be."""

from dataclasses import replace
from decimal import Decimal

import pytest
from situations import (
    at,
    counted,
    ended,
    failed_job,
    is_true,
    kinds,
    plan_for,
    running,
    training_job,
)

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.validation import parse_spec
from lepton_operator.reconcile import memory
from lepton_operator.reconcile.observed import MemoryLimits
from lepton_operator.reconcile.plan import LookUp

GIBIBYTE = Decimal(2**30)


def spec(by="50%", workers=2, **amounts):
    """A spec whose workers have a limit of 2Gi."""
    resources = {"limits": {"memory": "2Gi", "cpu": 1}, **amounts}
    return {
        "command": ["train"],
        "workers": workers,
        "resources": resources,
        "failurePolicy": {"growMemoryBy": by, "maxRestarts": 9},
    }


def grown(by, times=1, **amounts):
    """The limit after so many attempts that ran out of memory."""
    asked = spec(by, **amounts)
    status = training_job(running(), **asked).status
    for _ in range(times):
        status = memory.with_growth(status, parse_spec(asked))
    return status


@pytest.mark.parametrize(
    ("by", "times", "limit"),
    [("50%", 1, "3Gi"), ("50%", 2, "4608Mi"), ("1Gi", 2, "4Gi"), ("1%", 1, "2069Mi")],
)
def test_memory_grows_with_each_attempt_that_ran_out_of_it(by, times, limit):
    assert grown(by, times).memory == limit


def test_the_request_grows_in_proportion():
    asked = parse_spec(spec(requests={"memory": "1Gi", "cpu": 1}))
    assert memory.resources(asked, grown("50%")) == {
        "requests": {"memory": "1536Mi", "cpu": 1},
        "limits": {"memory": "3Gi", "cpu": 1},
    }


def test_what_has_not_grown_is_as_the_user_wrote_it():
    asked = parse_spec(spec(requests={"memory": "1000M"}))
    assert memory.resources(asked, training_job(running()).status) == {
        "requests": {"memory": "1000M"},
        "limits": {"memory": "2Gi", "cpu": 1},
    }


def limited(limits, **more):
    """The memory of a job of two workers that wants 4Gi each, and the reasons of events."""
    asked = parse_spec(spec("100%", **more))
    before = training_job({**running(), "memory": "4Gi"}).status
    status, events = memory.within_limits(before, asked, limits)
    assert memory.within_limits(status, asked, limits) == (status, ())
    return status.memory, [event.reason for event in events]


@pytest.mark.parametrize(
    ("limits", "memory_"),
    [
        (MemoryLimits(), "4Gi"),
        (MemoryLimits(per_worker=4 * GIBIBYTE), "4Gi"),
        (MemoryLimits(per_worker=3 * GIBIBYTE), "3Gi"),
        (MemoryLimits(left=7 * GIBIBYTE), "3584Mi"),
        (MemoryLimits(requests_left=6 * GIBIBYTE), "3Gi"),
        (MemoryLimits(per_worker=GIBIBYTE), None),
    ],
)
def test_growth_stops_at_what_the_namespace_allows_and_never_below_the_spec(limits, memory_):
    found, reasons = limited(limits)
    assert found == memory_
    assert reasons == ([] if memory_ == "4Gi" else [Reason.MEMORY_LIMITED])


def test_a_quota_of_requests_is_held_against_the_request():
    limits = MemoryLimits(requests_left=3 * GIBIBYTE)
    assert limited(limits, requests={"memory": "1Gi"})[0] == "3Gi"


def test_limits_are_read_from_limit_ranges_and_quotas():
    ranges = [
        {"spec": {"limits": [{"type": "Container", "max": {"memory": "8Gi"}}]}},
        {"spec": {"limits": [{"type": "Pod", "max": {"memory": "6Gi"}}, {"type": "Container"}]}},
        {"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]}},
    ]
    status = {
        "hard": {"limits.memory": "10Gi", "requests.memory": "9Gi", "pods": "4"},
        "used": {"limits.memory": "2Gi", "requests.memory": "1Gi"},
    }
    quotas = [
        {"spec": {}, "status": status},
        {"spec": {"scopes": ["NotTerminating"]}, "status": {"hard": {"memory": "5Gi"}}},
        {"spec": {"scopes": ["BestEffort"]}, "status": {"hard": {"limits.memory": "1"}}},
        {"spec": {"scopeSelector": {"x": 1}}, "status": {"hard": {"limits.memory": "1"}}},
        {},
    ]
    assert MemoryLimits.from_objects(ranges, quotas) == MemoryLimits(
        per_worker=6 * GIBIBYTE, left=8 * GIBIBYTE, requests_left=5 * GIBIBYTE
    )
    assert MemoryLimits.from_objects([], []) == MemoryLimits()


OOM = {"code": 137, "termination_reason": "OOMKilled"}


def test_an_attempt_that_ran_out_of_memory_is_followed_by_one_with_more():
    asked = spec(workers=1)
    job = training_job(running(), **asked)
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0, **OOM),))
    assert plan.status.memory == "3Gi"
    assert "each worker of attempt 2 gets 3Gi of memory" in plan.events[0].message
    assert plan.look_up is None

    following = training_job(plan.status.to_json_object(), **asked)
    asking = plan_for(following, now=at(60), jobs=(failed_job(),))
    assert asking.look_up == LookUp(limits=True)
    assert asking.create == ()
    limits = MemoryLimits(per_worker=3 * GIBIBYTE)
    starting = plan_for(following, now=at(60), jobs=(failed_job(),), limits=limits)
    assert kinds(starting.create) == [("Job", "job-2")]
    (container,) = starting.create[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "3Gi", "cpu": 1}


def test_a_smaller_growth_is_told_and_is_what_the_pods_get():
    job = training_job({**counted(2), "memory": "4Gi"}, **spec(workers=1))
    limits = MemoryLimits(per_worker=3 * GIBIBYTE)
    plan = plan_for(job, jobs=(failed_job(),), limits=limits)
    assert plan.urgent
    assert [e.reason for e in plan.events] == [Reason.MEMORY_LIMITED]
    assert plan.events[0].message.startswith("each worker gets 3Gi of memory instead of 4Gi")
    (container,) = plan.create[0]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "3Gi"


def test_nothing_grows_and_nothing_is_read_unless_asked_for():
    asked = spec(workers=1)
    asked["failurePolicy"] = {}
    job = training_job(running(), **asked)
    plan = plan_for(job, jobs=(failed_job(),), pods=(ended(0, **OOM),))
    assert plan.status.memory is None
    following = training_job(plan.status.to_json_object(), **asked)
    assert plan_for(following, now=at(60), jobs=(failed_job(),)).look_up is None
    boom = plan_for(
        training_job(running(), **spec(workers=1)), jobs=(failed_job(),), pods=(ended(0),)
    )
    assert boom.status.memory is None


def out_of_memory_at_step_7(*memory):
    """The plan after attempts that all ran out of memory at the same step, with so much."""
    entry = {"class": "OutOfMemory", "rank": 0, "step": 7}
    attempts = [
        {**entry, "number": n, **({"memory": had} if had else {})}
        for n, had in enumerate(memory[:-1], 1)
    ]
    last = len(memory)
    status = running(last, attempts=attempts, progress={"step": 7})
    job = training_job({**status, "memory": memory[-1]}, **spec(workers=1))
    failed = replace(ended(0, **OOM), attempt=last, owner_uid=f"job-uid-{last}")
    return plan_for(job, jobs=(failed_job(attempt=last),), pods=(failed,))


def test_with_more_memory_the_same_step_is_not_the_same_failure():
    plan = out_of_memory_at_step_7(None, "3Gi", "4Gi")
    assert not is_true(plan, ConditionType.FAILED)
    assert plan.status.memory == "6Gi"
    assert [attempt.memory for attempt in plan.status.attempts] == [None, "3Gi", "4Gi"]
    assert [event.reason for event in plan.events] == [Reason.ATTEMPT_FAILED]


def test_memory_that_can_not_grow_any_more_does_not_keep_the_same_failure_from_counting():
    second = out_of_memory_at_step_7(None, "3Gi", "4Gi", "4Gi")
    assert not is_true(second, ConditionType.FAILED)
    assert second.events[-1].reason is Reason.REPEATED_FAILURE
    third = out_of_memory_at_step_7(None, "4Gi", "4Gi", "4Gi")
    assert third.status.condition(ConditionType.FAILED).reason == Reason.REPEATED_FAILURE
