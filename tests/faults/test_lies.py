"""Row 16: workers that flood `/progress` or lie in it."""

import json

import pytest

from campaign.lives import LIVES, live, outcome_of
from campaign.oracle import writes_of
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(1800)

FLOOD = """
import itertools, threading, time
import lepton
for step in itertools.count(1):
    lepton.report(step=step, total=10**9, loss=1.0 / step)
    time.sleep(0.001)
"""
MEBIBYTES = 400
"""Of memory at most; Python and kopf take about 100."""


async def asked(stage, times):
    """Wait until the first worker was asked for its progress so often again."""
    scene = stage.scene

    def count():
        return sum(e.request.subresource == "proxy" for e in scene.proxy.exchanges)

    before = count()
    await scene.until(f"was asked {times} times", lambda: count() >= before + times)


async def test_row_16_reports_that_are_no_reports_change_nothing_and_hurt_nobody(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        before = stage.status["progress"]["step"]
        pod = stage.pod(0)
        for lie in (
            {"step": -1},
            {"step": 10**19},
            {"step": "many"},
            {"step": 50, "metrics": {"loss": "x" * 10_000_000}},
            {"step": 50, "metrics": {f"m{n}": 0.5 for n in range(400_000)}},
            {"step": 50, "stepsPerSecond": -1},
        ):
            await stage.tell(pod, {"say": lie})
            await asked(stage, 2)
            assert stage.status["progress"]["step"] == before, json.dumps(lie)[:80]
        assert here.seat.process.figure("VmHWM") < MEBIBYTES * 1024
        assert (await here.seat.process.probe("/healthz"))[0] == 200
        truth = {"step": 41, "metrics": {"loss": 0.5}, "stepsPerSecond": 1}
        await stage.tell(pod, {"say": truth})
        await stage.end_well(workers=2)
        baselines.compare("happy", await outcome_of(stage), here, edits=1)


async def test_row_16_numbers_that_can_not_be_are_shown_within_bounds(cluster, tmp_path):
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply()
        await stage.runs()
        await stage.say(150, total=100, loss=0.5)
        assert stage.status["progress"]["percent"] == 100
        assert stage.status["phase"] == "Running", "only its end is its end"
        names = {f"metric-{'x' * 200}-{n}": float(n) for n in range(40)}
        await stage.tell(
            stage.pod(0), {"say": {"step": 7, "message": "\x1b" * 2000, "metrics": names}}
        )
        await here.until("shows step 7", lambda: stage.status["progress"]["step"] == 7)
        assert len(stage.status["metrics"]) <= 16
        assert all(len(m["name"]) <= 128 for m in stage.status["metrics"])
        await stage.end(0, 0, {"progress": {"step": 10**18, "metrics": {"loss": None}}})
        await stage.finishes()
        assert stage.status["phase"] == "Complete"


async def test_row_16_a_thousand_reports_a_second_cost_no_more_than_it_is_asked(
    cluster, baselines, tmp_path
):
    await baselines.of("fails_for_good")
    async with scene(cluster, tmp_path) as here:
        flood = Stage(here, "flood")
        await flood.apply(command=["python3", "-c", FLOOD])
        await flood.runs()
        outcome = await live(here, LIVES["fails_for_good"])
        baselines.compare("fails_for_good", outcome, here)
        await asked(flood, 5)
        pulls = sum(e.request.subresource == "proxy" for e in here.proxy.exchanges)
        mine = [e for e in here.proxy.exchanges if "flood" in e.request.name]
        assert writes_of(mine).progress <= pulls
        assert flood.status["progress"]["step"] > 0
        await flood.delete()
