"""Whole lives of jobs in a small world, with a crash of the operator anywhere."""

from datetime import timedelta
from decimal import Decimal

import pytest
from situations import word
from world import QUOTA, START, World, essence, new_world

from lepton.spec.report import Progress
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.observed import MemoryLimits
from lepton_operator.reconcile.plan import LookUp


def happy(world: World) -> None:
    """Train and end well."""
    world.run(world.all_run)
    world.run(lambda: world.job["status"]["phase"] == "Running")
    world.work_ends_well()
    world.run(lambda: world.finished)


def fails_once(world: World) -> None:
    """Rank 1 raises; the next attempt ends well."""
    world.run(world.all_run)
    world.run(lambda: world.job["status"]["phase"] == "Running")
    world.end(world.running(1), 1, word("ValueError: boom", "train.py:3"))
    world.run(lambda: world.runs(2))
    happy(world)


def suspended_and_resumed(world: World) -> None:
    """Rest in the middle."""
    world.run(world.all_run)
    world.change_spec(suspend=True)
    world.run(lambda: world.job["status"]["phase"] == "Suspended")
    assert world.live_pods() == []
    world.change_spec(suspend=False)
    happy(world)


def resized(world: World) -> None:
    """Grow while it runs, and shrink while it rests."""
    world.change_spec(elastic={"min": 1, "max": 4})
    world.run(world.all_run)
    world.run(lambda: world.job["status"]["phase"] == "Running")
    world.change_spec(workers=4)
    world.run(lambda: world.runs(2))
    assert len(world.live_pods()) == 4
    world.change_spec(suspend=True)
    world.run(lambda: world.job["status"]["phase"] == "Suspended")
    world.change_spec(workers=1)
    world.run(lambda: world.job["status"]["attempt"] == 3)
    world.change_spec(suspend=False)
    world.run(lambda: world.runs(3))
    happy(world)


def pod_deleted(world: World) -> None:
    """Somebody deletes a worker."""
    world.run(world.all_run)
    world.run(lambda: world.job["status"]["phase"] == "Running")
    world.delete("Pod", world.running(0)["metadata"]["name"])
    world.run(lambda: world.runs(2))
    happy(world)


def job_deleted(world: World) -> None:
    """Somebody deletes the batch Job."""
    world.run(world.all_run)
    world.run(lambda: world.job["status"]["phase"] == "Running")
    world.delete("Job", "job-1")
    world.run(lambda: world.runs(2))
    happy(world)


def fails_for_good(world: World) -> None:
    """Every attempt raises."""
    for attempt in (1, 2, 3):
        world.run(lambda n=attempt: world.runs(n))
        world.end(world.running(0), 3, word("RuntimeError: no"))
    world.run(lambda: world.finished)


def fails_at_the_same_step(world: World) -> None:
    """Rank 1 raises at step 40 in every attempt."""
    world.change_spec(failurePolicy={"maxRestarts": 50, "backoffSeconds": 4})
    for attempt in (1, 2, 3):
        world.run(lambda n=attempt: world.runs(n))
        world.says(Progress(step=40, total_steps=100))
        world.run(lambda: world.job["status"].get("progress", {}).get("step") == 40)
        world.end(world.running(1), 1, word("ValueError: boom"))
    world.run(lambda: world.finished)


def ends_by_rule(world: World) -> None:
    """A code that is worth a free restart, and then one that ends the job."""
    rules = [
        {"exitCodes": [75], "action": "RestartFree"},
        {"exitCodes": [3], "action": "Fail"},
    ]
    world.change_spec(failurePolicy={"maxRestarts": 0, "backoffSeconds": 4, "rules": rules})
    world.run(world.all_run)
    world.end(world.running(0), 75)
    world.run(lambda: world.runs(2))
    world.end(world.running(0), 3)
    world.run(lambda: world.finished)


def out_of_memory(world: World) -> None:
    """Two attempts run out of memory; the namespace allows the third less than it wants."""
    world.change_spec(
        resources={"limits": {"memory": "2Gi"}},
        failurePolicy={"growMemoryBy": "50%", "backoffSeconds": 4},
    )
    world.limits = MemoryLimits(per_worker=Decimal(4 * 2**30))
    for attempt in (1, 2):
        world.run(lambda n=attempt: world.runs(n))
        world.end(world.running(1), 137, reason="OOMKilled")
    world.run(lambda: world.runs(3))
    happy(world)


def bad_node(world: World) -> None:
    """Rank 1's node loses two pods; the third attempt is elsewhere."""
    for attempt in (1, 2):
        world.run(lambda n=attempt: world.runs(n))
        world.delete("Pod", world.running(1)["metadata"]["name"])
    world.run(lambda: world.runs(3))
    happy(world)


def runs_too_long(world: World) -> None:
    """Rests for longer than it may run, then runs out of time."""
    world.change_spec(activeDeadlineSeconds=40)
    world.run(lambda: world.runs(1))
    world.run_for(20)
    world.change_spec(suspend=True)
    world.run(lambda: world.job["status"]["phase"] == "Suspended")
    world.run_for(60)
    world.change_spec(suspend=False)
    world.run(lambda: world.finished)


def finds_no_node(world: World) -> None:
    """No node has room for the pods."""
    world.change_spec(pendingDeadlineSeconds=30)
    world.unplaceable = "0/3 nodes are available: 3 Insufficient cpu."
    world.run(lambda: world.finished)


def is_refused(world: World) -> bool:
    """Whether the status says that the quota leaves no room for the Job."""
    (ready,) = (c for c in world.job["status"]["conditions"] if c["type"] == "PodsReady")
    return (ready["reason"], ready["message"]) == ("CreationRefused", QUOTA)


def waits_for_quota(world: World) -> None:
    """The quota has no room for the first attempt for a while, and none for the second."""
    world.change_spec(pendingDeadlineSeconds=60)
    for attempt in (1, 2):
        world.quota = QUOTA
        world.run(lambda: is_refused(world))
        world.run_for(20)
        world.quota = None
        world.run(lambda n=attempt: world.runs(n))
        assert not is_refused(world)
        if attempt == 1:
            world.end(world.running(1), 1, word("ValueError: boom"))
    happy(world)


def finds_no_quota(world: World) -> None:
    """The quota never has room."""
    world.change_spec(pendingDeadlineSeconds=30)
    world.quota = QUOTA
    world.run(lambda: world.finished)


def begins_later(world: World) -> None:
    """Has a time at which to start."""
    world.change_spec(startAt="2026-01-01T00:01:00Z")
    world.run(lambda: world.now >= START + timedelta(seconds=50))
    assert world.of("Job") == []
    fails_once(world)


def hangs(world: World) -> None:
    """The first attempt hangs at a step, the second before its first one, the third ends well."""
    world.change_spec(storage=None, progressDeadlineSeconds=20)
    world.run(lambda: world.runs(1))
    world.says(Progress(step=40, total_steps=100))
    world.run(lambda: world.runs(2))
    world.tick(580)
    world.run(lambda: world.runs(3))
    world.says(Progress(step=50, total_steps=100))
    happy(world)


def loses_its_numbers(world: World) -> None:
    """The loss is NaN for a moment, and later for good; a rule says that this is the end."""
    rules = [{"class": "Stalled", "action": "Fail"}]
    world.change_spec(failurePolicy={"rules": rules})
    world.run(lambda: world.runs(1))
    world.says(Progress(step=40, metrics={"loss": None}), "loss")
    world.run_for(10)
    world.says(Progress(step=41, metrics={"loss": 0.5}))
    world.run_for(10)
    world.says(Progress(step=42, metrics={"loss": None}), "loss")
    world.run(lambda: world.finished)


def has_to_stay_in_regions(world: World) -> None:
    """Says where it may run, and loses an attempt there."""
    world.change_spec(scheduling={"regions": ["region-0", "region-1"]})
    fails_once(world)


LIVES = [
    happy,
    fails_once,
    suspended_and_resumed,
    resized,
    pod_deleted,
    job_deleted,
    fails_for_good,
    fails_at_the_same_step,
    ends_by_rule,
    out_of_memory,
    bad_node,
    runs_too_long,
    finds_no_node,
    waits_for_quota,
    finds_no_quota,
    begins_later,
    hangs,
    loses_its_numbers,
    has_to_stay_in_regions,
]


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_a_crash_before_any_write_leads_to_the_same_end(life):
    whole = new_world()
    life(whole)
    assert whole.finished
    for write in range(len(whole.writes)):
        world = new_world()
        world.crash_after = write
        life(world)
        assert essence(world) == essence(whole), f"crash before write {write}"
        # How often a status is written that may wait is a matter of time.
        assert len(world.writes) - world.may_wait == len(whole.writes) - whole.may_wait


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_a_finished_job_needs_no_further_write(life):
    world = new_world()
    life(world)
    for _ in range(5):
        world.step()
        world.reconcile()
    before = len(world.writes)
    for _ in range(5):
        world.tick(3600)
        assert world.reconcile() is None
        world.step()
    assert len(world.writes) == before


def test_a_happy_job_of_two_workers_costs_few_writes():
    world = new_world()
    happy(world)
    made = [w for w in world.writes if w.startswith("create")]
    assert made == [
        "create NetworkPolicy job", "create Service lepton-workers",
        "create PersistentVolumeClaim job", "create PodGroup job-1", "create Job job-1",
        "create EndpointSlice job",
    ]  # fmt: skip
    assert world.writes.count("status") <= 4
    assert world.events == []


@pytest.mark.parametrize(
    ("workers", "gang", "budget"), [(1, "None", 5), (2, "None", 6), (2, "Native", 7)]
)
def test_a_job_without_progress_stays_within_its_budget_of_requests(workers, gang, budget):
    world = World(environment={}, workers=workers, scheduling={"gang": gang})
    world.create(manifests.service("team"))  # which is there once, for all jobs of the namespace
    happy(world)
    assert len(world.writes) + len(world.events) <= budget, world.writes


def test_each_kind_of_failure_is_told_once():
    world = new_world()
    fails_for_good(world)
    assert world.events.count("AttemptFailed") == 2
    assert world.events.count("MaxRestartsExceeded") == 1
    status = world.job["status"]
    assert [a["number"] for a in status["attempts"]] == [1, 2, 3]
    assert status["phase"] == "Failed"


def test_the_same_failure_ends_a_job_long_before_its_budget():
    world = new_world()
    fails_at_the_same_step(world)
    status = world.job["status"]
    assert (status["reason"], status["restarts"]) == ("RepeatedFailure", 2)
    assert world.events.count("RepeatedFailure") == 2


def test_rules_decide_whether_a_failure_is_the_last():
    world = new_world()
    ends_by_rule(world)
    status = world.job["status"]
    assert (status["reason"], status["interruptions"]) == ("FailedByRule", 1)


def test_memory_grows_until_the_namespace_allows_no_more():
    world = new_world()
    out_of_memory(world)
    assert world.job["status"]["memory"] == "4Gi"
    assert world.events.count("MemoryLimited") == 1
    last = world.objects["Job", "job-3"]["spec"]["template"]["spec"]["containers"][0]
    assert last["resources"]["limits"]["memory"] == "4Gi"


def test_a_node_that_ended_two_attempts_is_avoided():
    world = new_world()
    bad_node(world)
    assert world.job["status"]["placement"]["avoided"] == ["node-1"]
    assert world.events.count("AvoidingNodes") == 1
    nodes = {p["spec"]["nodeName"] for p in world.of("Pod") if world.rank(p) == 1}
    assert "node-1" not in nodes
    assert sum(look_up.nodes for look_up in world.look_ups) == 1


def test_only_time_in_which_pods_run_counts():
    world = new_world()
    runs_too_long(world)
    status = world.job["status"]
    assert (status["reason"], status["restarts"]) == ("DeadlineExceeded", 0)
    assert 40 <= status["activeSeconds"] <= 42
    assert "activeSince" not in status
    assert (world.now - START).total_seconds() > 100


def test_a_job_without_a_node_says_what_no_node_has():
    world = new_world()
    finds_no_node(world)
    (told,) = (c for c in world.job["status"]["conditions"] if c["type"] == "Failed")
    assert told["reason"] == "PendingDeadlineExceeded"
    assert told["message"].endswith(
        "rank 0 can't be placed: none of 3 nodes will do: not enough free cpu (3)"
    )


def test_a_job_without_quota_says_so_with_few_writes_and_ends_in_time():
    world = new_world()
    finds_no_quota(world)
    (told,) = (c for c in world.job["status"]["conditions"] if c["type"] == "Failed")
    assert told["reason"] == "PendingDeadlineExceeded"
    assert told["message"].endswith(f": {QUOTA}")
    assert world.now - START == timedelta(seconds=30)
    # It is counted, refused, and ends.
    assert world.writes.count("status") == 3


def test_an_attempt_that_hangs_is_given_up_and_told():
    world = new_world()
    hangs(world)
    status = world.job["status"]
    assert [(a.get("class"), a["reason"], a.get("step")) for a in status["attempts"]] == [
        ("Stalled", "NoProgress", 40),
        ("Stalled", "NoProgress", 40),
    ]
    first, second = (a["message"] for a in status["attempts"])
    assert first == ("no step for longer than progressDeadlineSeconds (20s); the last one was 40")
    assert second.startswith("no first step within 10m")
    assert (status["restarts"], status["interruptions"]) == (2, 0)
    told = [e for e in world.events if e in ("NoProgress", "Progressing", "AttemptFailed")]
    assert told == ["NoProgress", "AttemptFailed", "Progressing"] * 2


def test_a_loss_that_stays_nan_ends_the_attempt_and_one_that_passes_does_not():
    world = new_world()
    loses_its_numbers(world)
    status = world.job["status"]
    assert status["reason"] == "FailedByRule"
    (attempt,) = status["attempts"]
    assert (attempt["class"], attempt["reason"]) == ("Stalled", "NonFiniteMetrics")
    assert attempt["step"] == 42
    told = [e for e in world.events if e in ("NonFiniteMetrics", "Progressing")]
    assert told == ["NonFiniteMetrics", "Progressing", "NonFiniteMetrics"]


def test_a_finished_job_goes_after_its_time_and_is_not_touched_before():
    world = new_world()
    world.change_spec(ttlSecondsAfterFinished=100)
    happy(world)
    before = len(world.writes)
    world.tick(99)
    assert world.reconcile() == timedelta(seconds=1)
    assert len(world.writes) == before
    world.tick(1)
    world.reconcile()
    assert world.gone


def test_a_job_that_names_regions_shows_where_it_ran_after_one_look_up():
    world = new_world()
    has_to_stay_in_regions(world)
    assert world.job["status"]["placement"] == {
        "nodes": ["node-0", "node-1"],
        "regions": ["region-0", "region-1"],
    }
    assert world.look_ups == [LookUp(regions_of=frozenset({"node-0", "node-1"}))]


def test_a_job_that_uses_none_of_it_has_nothing_looked_up():
    world = new_world()
    fails_once(world)
    assert world.look_ups == []
