"""Whatever happens to a job, in whatever order: schedules at random in the small world.

A run of the tests takes the same 300 schedules each time. With --hypothesis-profile=search it takes
3,000 others, new ones each time; of those that fail the smallest is printed, as a list that can be
performed again.
"""

import contextlib
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from situations import word
from world import KINDS, QUOTA, Crash, World, essence, new_world

from lepton_operator.api.job import TrainingJob

pytestmark = pytest.mark.timeout(1800)

SEARCH = settings.get_current_profile_name() == "search"
EXAMPLES = settings(
    max_examples=3000 if SEARCH else 300, suppress_health_check=[HealthCheck.too_slow]
)

EVENT = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, 40)),
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("reconcile"), st.none()),
    st.tuples(st.just("reconcile"), st.none()),
    st.tuples(st.just("overtaken"), st.none()),
    st.tuples(st.just("crash"), st.integers(0, 4)),
    st.tuples(st.just("fail"), st.integers(0, 1)),
    st.tuples(st.just("succeed"), st.integers(0, 1)),
    st.tuples(st.just("delete pod"), st.integers(0, 1)),
    st.tuples(st.just("delete job"), st.none()),
    st.tuples(st.just("delete service"), st.none()),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("quota"), st.booleans()),
)
OF_WATCHES = st.one_of(
    st.tuples(st.just("fall behind"), st.sampled_from(KINDS)),
    st.tuples(st.just("catch up"), st.none()),
    st.tuples(st.just("start again"), st.just("Job")),
)


def schedules(event: st.SearchStrategy) -> st.SearchStrategy:
    """Of five events on average where they are the same each time, so as not to take long; else
    longer ones, too, which get further into a life and shrink to short ones."""
    short = st.lists(event, max_size=60)
    return short if not SEARCH else short | st.lists(event, min_size=20, max_size=60)


def perform(world: World, what: str, value: object) -> None:
    """One event of a schedule."""
    pod = world.running(value) if isinstance(value, int) and what != "tick" else None
    if what == "tick":
        world.tick(value)
    elif what == "step":
        world.step()
    elif what == "reconcile":
        world.reconcile()
    elif what == "crash":
        crash(world, value)
    elif what == "overtaken":
        world.reconcile(meanwhile=world.step)
    elif what == "fail" and pod is not None:
        world.end(pod, 1, word("ValueError: boom"))
    elif what == "succeed" and pod is not None:
        world.end(pod, 0)
    elif what == "delete pod" and pod is not None:
        world.delete("Pod", pod["metadata"]["name"])
    elif what == "delete job":
        for batch in world.of("Job")[-1:]:
            world.delete("Job", batch["metadata"]["name"])
    elif what == "delete service":
        if ("Service", "lepton-workers") in world.objects:
            world.delete("Service", "lepton-workers")
    elif what == "suspend":
        world.change_spec(suspend=value)
    elif what == "quota":
        world.quota = QUOTA if value else None
    elif what == "fall behind":
        world.fall_behind(value)
    elif what == "catch up":
        world.catch_up()
    elif what == "start again":
        world.start_again(value)


def crash(world: World, write: int | None) -> None:
    """A pass that ends before this write, or after all of them; and another process begins."""
    world.crash_after = write
    with contextlib.suppress(Crash):
        world.reconcile()
    world.start_again()


def end_well(world: World) -> None:
    """Nothing happens any more but what the job needs, until it has ended."""
    world.catch_up()
    world.change_spec(suspend=False)
    world.quota = None
    for _ in range(200):
        if world.finished:
            break
        world.run(lambda: world.finished or bool(world.live_pods()), limit=700)
        world.step()
        world.work_ends_well()
    assert world.finished


def adds_up(world: World, schedule: list[tuple[str, object]]) -> None:
    """Raises AssertionError where the end of a schedule is not as every end has to be."""
    status = TrainingJob.from_object(world.job).status
    assert status.is_true("Complete") is not status.is_true("Failed")
    assert status.restarts == status.attempt - 1
    assert status.interruptions <= status.restarts
    did = Counter(what for what, _ in schedule)
    assert status.restarts <= did["fail"] + did["delete pod"] + did["delete job"], "for no reason"
    numbers = [a.number for a in status.attempts]
    assert numbers == sorted(set(numbers))
    assert status.to_json_object() == world.job["status"]
    for _ in range(3):
        world.step()
        world.reconcile()
        world.tick(100)
    assert world.reconcile() is None
    assert world.live_pods() == []
    # A Job that somebody deleted before it ran is made again; nothing else is made twice.
    assert len(world.made) - len(set(world.made)) <= did["delete job"]
    assert timedelta(0) <= status.completion_time - status.start_time


def ends_as_it_should(schedule: list[tuple[str, object]]) -> None:
    """Perform it, and see how the job ends."""
    world = new_world()
    for what, value in schedule:
        perform(world, what, value)
    end_well(world)
    adds_up(world, schedule)


@EXAMPLES
@given(schedules(EVENT))
def test_whatever_happens_the_job_ends_and_its_status_adds_up(schedule):
    ends_as_it_should(schedule)


@EXAMPLES
@given(schedules(st.one_of(EVENT, EVENT, OF_WATCHES)))
def test_watches_that_are_late_one_by_one_change_nothing_of_that(schedule):
    ends_as_it_should(schedule)


def does_all(world: World) -> None:
    """One pass after the other, until one finds nothing to do."""
    for _ in range(20):
        before = len(world.writes)
        if world.reconcile() != timedelta(0) and len(world.writes) == before:
            return
    raise AssertionError(f"there is no end of it: {world.writes[-20:]}")


def lived(schedule: list[tuple[str, object]], *, crashes: bool) -> object:
    """The end of a schedule in which each crash, or else a restart between two passes, is followed
    at once by all that a successor finds to do."""
    world = new_world()
    for what, value in schedule:
        if what == "crash":
            crash(world, value if crashes else None)
            does_all(world)
        else:
            perform(world, what, value)
    end_well(world)
    return essence(world)


@EXAMPLES
@given(schedules(EVENT))
def test_a_schedule_without_its_crashes_ends_the_same(schedule):
    assert lived(schedule, crashes=True) == lived(schedule, crashes=False)
