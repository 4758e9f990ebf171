"""Rows 5, 6, 7 and 9: watches that break, forget, report errors, or tell wrong stories."""

import asyncio
from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Refuse, Rule
from campaign.lives import LIVES, live, outcome_of, without_evidence
from campaign.requests import ANY_WATCH, Which, which
from campaign.scene import scene
from campaign.stage import Stage
from campaign.streams import CutAfter, EndAfter, ErrorAfter, Lose, StallAfter, Swap, Twice, reaches

pytestmark = pytest.mark.timeout(1800)

WATCHED = ("leptontrainingjobs", "jobs", "pods")


async def lived(cluster, baselines, folder, name, rule, *options):
    """A life under a rule, compared with one without."""
    async with scene(cluster, folder, start=False) as here:
        here.proxy.strike(rule)
        await here.seat.process.start(*options)
        outcome = await live(here, LIVES[name])
        assert rule.struck, rule
        try:
            baselines.compare(name, outcome, here)
        except AssertionError as error:
            error.add_note(f"{name} under {rule}")
            raise


async def test_row_5_watches_that_break_after_each_event_are_resumed(cluster, baselines, tmp_path):
    names = ("fails_once", "suspended_and_resumed")
    await baselines.of(*names)
    breaks = (EndAfter(1), CutAfter(1), CutAfter(1, in_line=True))
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, name, Rule(ANY_WATCH, break_, times=None)
        )
        for name in names
        for break_ in breaks
    )  # fmt: skip


async def test_row_5_a_watch_that_stalls_with_its_connection_open_is_noticed(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, "happy", Rule(which("watch", kind), StallAfter(2))
        )
        for kind in WATCHED
    )  # fmt: skip


class Gap:
    """A time in which no watch of these kinds is served; at its end the versions are forgotten."""

    def __init__(self, here, *kinds, in_band):
        self._here = here
        self._kinds = kinds
        self._end = ErrorAfter(0) if in_band else Refuse(410, "Expired", "too old resource version")

    async def __aenter__(self):
        closed = Refuse(503, "ServiceUnavailable")
        self._rules = [
            self._here.proxy.strike(Rule(which("watch", kind), closed, times=None))
            for kind in self._kinds
        ]
        for kind in self._kinds:
            assert self._here.proxy.cut(which("watch", kind)) == 1

    async def __aexit__(self, *_):
        for rule in self._rules:
            self._here.proxy.rules.remove(rule)
            self._here.proxy.strike(Rule(rule.which, self._end))


async def pod_lost_in_a_gap(cluster, baselines, folder, in_band):
    """A worker is deleted, and all pods of its attempt go, while nobody watches pods."""
    async with scene(cluster, folder) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        async with Gap(here, "pods", in_band=in_band):
            await stage.delete_pod(1)
            await here.until("all are gone", lambda: not stage.running())
        await stage.trains(2, workers=2)
        await stage.end_well(workers=2)
        baselines.compare("pod_deleted", await outcome_of(stage), here, trim=without_evidence)


async def batch_job_lost_in_a_gap(cluster, baselines, folder, in_band):
    """The batch Job is deleted, and its pods go with it, while nobody watches either."""
    async with scene(cluster, folder) as here:
        stage = Stage(here)
        await stage.apply()
        await stage.trains(1)
        async with Gap(here, "jobs", "pods", in_band=in_band):
            await stage.delete_batch_job()
            await here.until("all are gone", lambda: not stage.children("pods"))
        await stage.trains(2)
        await stage.end_well()
        baselines.compare("job_deleted", await outcome_of(stage), here)


async def job_made_in_a_gap(cluster, baselines, folder, in_band):
    """The training job is deleted and made anew while nobody watches anything."""
    async with scene(cluster, folder) as here:
        first = Stage(here)
        await first.apply(workers=2)
        await first.runs(1, workers=2)
        async with Gap(here, *WATCHED, in_band=in_band):
            await first.delete()
            await here.until("it is gone", lambda: not first.status)
            await here.until("its pods are gone", lambda: not first.children("pods"))
            second = Stage(here)
            await second.apply(workers=2)
        await second.trains(1, workers=2)
        await second.end_well(workers=2)
        outcome = await outcome_of(second)
        baselines.compare("happy", outcome, here, lives=2)


async def test_row_6_what_was_made_and_deleted_in_a_forgotten_gap_is_found(
    cluster, baselines, tmp_path
):
    await baselines.of("pod_deleted", "job_deleted", "happy")
    await side_by_side(
        partial(gap, cluster, baselines, tmp_path, in_band)
        for gap in (pod_lost_in_a_gap, batch_job_lost_in_a_gap, job_made_in_a_gap)
        for in_band in (False, True)
    )


async def test_row_7_errors_within_a_watch_are_got_over(cluster, baselines, tmp_path):
    await baselines.of("fails_once")
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, "fails_once",
            Rule(ANY_WATCH, ErrorAfter(1, code, reason), times=None, every=2),
        )
        for code, reason in ((500, "InternalError"), (410, "Expired"), (504, "Timeout"))
    )  # fmt: skip


async def test_row_7_a_list_that_is_forbidden_is_told_by_the_probe(cluster, baselines, tmp_path):
    await baselines.of("happy")
    async with scene(cluster, tmp_path, start=False) as here:
        refusal = Refuse(403, "Forbidden", "pods is forbidden: no verb list")
        rule = here.proxy.strike(Rule(which("list", "pods"), refusal, times=None))
        await here.seat.process.start()
        told = (0, "")
        while rule.struck < 2 or "403" not in told[1]:
            await asyncio.sleep(0.2)
            told = await here.seat.process.probe("/readyz")
        assert told[0] == 503
        assert "pods" in told[1]
        assert (await here.seat.process.probe("/healthz"))[0] == 200
        here.proxy.rules.remove(rule)
        outcome = await live(here, LIVES["happy"])
        assert (await here.seat.process.probe("/readyz"))[0] == 200
        baselines.compare("happy", outcome, here)


async def refused_at_first(cluster, baselines, folder, which_, refusal):
    """A life of which the start meets refusals: of a kind, or of all that tells what is served."""
    async with scene(cluster, folder, start=False) as here:
        rule = here.proxy.strike(Rule(which_, refusal, times=None))
        await here.seat.process.start()
        here.seat.keep_alive()
        stage = Stage(here)
        await stage.apply(workers=2)
        await here.until("it is refused", lambda: rule.struck > 2)
        await asyncio.sleep(5)
        here.proxy.rules.remove(rule)
        await here.until("the operator leads", lambda: here.seat.leads)
        await stage.trains(1, workers=2)
        await stage.end_well(workers=2)
        baselines.compare("happy", await outcome_of(stage), here, crashes=here.seat.process.starts)
        assert here.proxy.watching(which("watch", "leptontrainingjobs")) == 1


async def test_row_7_what_is_refused_at_the_start_is_tried_until_it_is_allowed(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    forbidden = Refuse(403, "Forbidden", "no rights yet")
    missing = Refuse(404, "NotFound", "the server could not find the requested resource")
    not_served = Which(group="training.lepton.ai")
    training_jobs = Which(frozenset({"list", "watch"}), "leptontrainingjobs")
    await side_by_side(
        [
            partial(refused_at_first, cluster, baselines, tmp_path, training_jobs, forbidden),
            partial(refused_at_first, cluster, baselines, tmp_path, training_jobs, missing),
            partial(refused_at_first, cluster, baselines, tmp_path, not_served, missing),
            partial(
                refused_at_first, cluster, baselines, tmp_path,
                Which(resource=""), Refuse(503, "ServiceUnavailable"),
            ),
        ]
    )  # fmt: skip


STORIES = {
    "twice": Rule(ANY_WATCH, Twice(), times=None),
    "in the wrong order": Rule(ANY_WATCH, Swap(), times=None),
    "not that the batch Job is complete": Rule(
        which("watch", "jobs"), Lose(reaches("Complete")), times=1
    ),
    "not that pods are ready": Rule(which("watch", "pods"), Lose(reaches("Ready")), times=1),
    "nothing of pods": Rule(which("watch", "pods"), Lose(), times=1),
    "nothing of training jobs": Rule(which("watch", "leptontrainingjobs"), Lose(), times=1),
}


async def test_row_9_lost_repeated_and_disordered_events_change_nothing(
    cluster, baselines, tmp_path
):
    await baselines.of("fails_once")
    await side_by_side(
        partial(
            lived, cluster, baselines, tmp_path, "fails_once",
            Rule(rule.which, rule.fault, times=rule.times), "--audit-seconds=4",
        )
        for rule in STORIES.values()
    )  # fmt: skip
