"""Rows 1, 8 and 17: SIGKILL at every write, stale lists after a restart, last words."""

import itertools
from functools import partial

import pytest

from campaign.baseline import AT_ONCE, side_by_side
from campaign.faults import After, Before, Cut, Keep, Replay, Rule
from campaign.lives import EVIDENCE_GOES, LIVES, live, outcome_of, without_evidence
from campaign.requests import ANY_LIST, ANY_WRITE, Which, which
from campaign.scene import scene
from campaign.stage import Stage
from campaign.streams import Late

pytestmark = pytest.mark.timeout(1800)

MOMENTS = {"before": Before, "after": After}


def kill(seat, moment, may=lambda: True):
    """SIGKILL before a write is sent on, or after it took effect and before that is told."""

    async def strike():
        if may():
            seat.crash()
            raise Cut

    return MOMENTS[moment](strike)


def trim_of(name):
    """What is left out of the ends of a life, while the operator may have been gone."""
    return without_evidence if name in EVIDENCE_GOES else lambda end: end


async def with_a_kill(cluster, baselines, folder, name, moment, number):
    """A life in which the operator is killed at one write; whether it came to that write."""
    async with scene(cluster, folder) as here:
        rule = here.proxy.strike(Rule(ANY_WRITE, kill(here.seat, moment), skip=number))
        outcome = await live(here, LIVES[name])
        try:
            baselines.compare(name, outcome, here, crashes=rule.struck, trim=trim_of(name))
        except AssertionError as error:
            error.add_note(f"{name}, killed {moment} write {number}")
            raise
        return rule.struck == 1


async def at_every_write(cluster, baselines, folder, name, moment):
    """A life for each of its writes; returns how many there were."""
    await baselines.of(name)
    for first in itertools.count(step=AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        struck = await side_by_side(
            partial(with_a_kill, cluster, baselines, folder, name, moment, number)
            for number in numbers
        )
        if not all(struck):
            return first + sum(struck)
    raise AssertionError("unreachable")


async def test_row_1_a_kill_before_any_one_write_of_a_happy_life_changes_nothing(
    cluster, baselines, tmp_path
):
    writes = await at_every_write(cluster, baselines, tmp_path, "happy", "before")
    assert writes >= 6, "the policy, the Service, the Job, and the status three times at least"


@pytest.mark.long
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", LIVES)
async def test_row_1_a_kill_at_any_one_write_of_a_life_changes_nothing(
    cluster, baselines, tmp_path, name, moment
):
    assert await at_every_write(cluster, baselines, tmp_path, name, moment) >= 5


async def killed_again_and_again(cluster, baselines, folder, name, moment):
    """Each process does one write: the first is killed before or after its first, and so on."""
    async with scene(cluster, folder) as here:
        done = {}

        def may():
            start = here.seat.process.starts
            done[start] = done.get(start, 0) + 1
            # Of two who write side by side the first has ended the process already.
            first = moment == "after" or start == 1
            return here.seat.process.alive and done[start] == (1 if first else 2)

        rule = here.proxy.strike(Rule(ANY_WRITE, kill(here.seat, moment, may), times=None))
        outcome = await live(here, LIVES[name])
        assert here.seat.process.starts >= 6
        baselines.compare(name, outcome, here, crashes=rule.struck, trim=trim_of(name))


@pytest.mark.parametrize("moment", MOMENTS)
async def test_row_1_an_operator_that_is_killed_at_each_of_its_writes_gets_there(
    cluster, baselines, tmp_path, moment
):
    await baselines.of(*LIVES)
    await side_by_side(
        partial(killed_again_and_again, cluster, baselines, tmp_path, name, moment)
        for name in LIVES
    )


OF_CHILDREN = Which(frozenset({"list"}), but_not=frozenset({"leptontrainingjobs"}))
STALE = {
    "everything": ANY_LIST,
    "all but training jobs": OF_CHILDREN,
    "training jobs": which("list", "leptontrainingjobs"),
    "pods": which("list", "pods"),
    "batch jobs": which("list", "jobs"),
}


async def restarted_with_stale_lists(cluster, baselines, folder, what, age):
    """A life in which a new process first gets lists of an earlier time, and late watches."""
    async with scene(cluster, folder, start=False) as here:
        lists, kept = STALE[what], Keep()
        keeping = here.proxy.strike(Rule(lists, kept, times=None))
        stage = Stage(here)
        await here.seat.process.start()
        await here.until("the operator leads", lambda: here.seat.leads)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        if age == "of the last attempt":
            await here.seat.restart()
            await here.until("lists again", lambda: keeping.struck >= 2 * len(kept.answers))
        await stage.end(
            1, 1, {"rank": 1, "error": {"line": "ValueError: boom", "where": "train.py:3 in step"}}
        )
        await stage.trains(2, workers=2)
        here.proxy.rules.remove(keeping)
        running = {pod["metadata"]["uid"] for pod in stage.running()}
        late = Which(frozenset({"watch"}), lists.resource, but_not=lists.but_not)
        here.proxy.strike(Rule(lists, Replay(kept), times=len(kept.answers)))
        here.proxy.strike(Rule(late, Late(8), times=6))
        await here.seat.restart()
        await here.quiet(12)
        assert {pod["metadata"]["uid"] for pod in stage.running()} == running
        await stage.end_well(workers=2)
        # A group whose Job the list does not show is cleaned up early. A status that goes by an old
        # list is refused, once a second while the watch is late.
        baselines.compare("fails_once", await outcome_of(stage), here, crashes=12, edits=2)


async def test_row_8_no_live_pod_goes_because_a_list_was_stale_after_a_restart(
    cluster, baselines, tmp_path
):
    await baselines.of("fails_once")
    old = [(what, "of the last attempt") for what in STALE] + [("everything", "of the start")]
    await side_by_side(
        partial(restarted_with_stale_lists, cluster, baselines, tmp_path, what, age)
        for what, age in old
    )


async def test_row_17_what_a_job_said_last_while_the_operator_was_gone_arrives(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        await here.seat.process.kill()
        said = {"step": 100, "totalSteps": 100, "metrics": {"loss": 0.25}}
        await stage.end(1)
        await stage.end(0, 0, {"progress": said})
        await here.until(
            "the batch Job is complete",
            lambda: all(j["status"].get("succeeded") == 2 for j in stage.children("jobs")),
        )
        assert stage.status["phase"] == "Running"
        await here.seat.restart()
        await stage.finishes()
        assert stage.status["metrics"] == [{"name": "loss", "value": "0.25"}]
        assert stage.status["progress"]["percent"] == 100
        baselines.compare("happy", await outcome_of(stage), here, crashes=1)
