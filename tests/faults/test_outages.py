"""Row 4: an API server that is down, for 10 s and for 2 min."""

import asyncio
from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Before, Rule
from campaign.lives import LIVES, live, outcome_of
from campaign.requests import ANY_OBJECT_WRITE
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(1800)


def compare_after_outage(baselines, name, outcome, here):
    """As without a fault, but for requests sent in vain, which the proxy can't count."""
    baselines.compare(name, outcome, here, crashes=10)


async def down_at(cluster, baselines, folder, name, number, seconds):
    """A life in which the API server goes away just before a write, and comes back."""
    async with scene(cluster, folder) as here:
        outage = asyncio.Event()

        async def begin():
            outage.set()

        async def down():
            await outage.wait()
            await here.proxy.fall()
            await asyncio.sleep(seconds)
            await here.proxy.rise()

        # Without a lease it ends, and its container is started again.
        here.seat.keep_alive()
        here.proxy.strike(Rule(ANY_OBJECT_WRITE, Before(begin), skip=number))
        falling = asyncio.create_task(down())
        outcome = await live(here, LIVES[name])
        await falling
        compare_after_outage(baselines, name, outcome, here)


async def test_row_4_an_api_server_that_is_gone_for_ten_seconds_is_waited_for(
    cluster, baselines, tmp_path
):
    await baselines.of("happy", "fails_once")
    await side_by_side(
        partial(down_at, cluster, baselines, tmp_path, name, number, 10)
        for name, number in (("happy", 1), ("happy", 5), ("fails_once", 3), ("fails_once", 7))
    )


@pytest.mark.long
async def test_row_4_an_api_server_that_is_gone_for_two_minutes_is_waited_for(
    cluster, baselines, tmp_path
):
    await baselines.of("happy", "fails_once")
    await side_by_side(
        partial(down_at, cluster, baselines, tmp_path, name, number, 120)
        for name, number in (("happy", 1), ("happy", 5), ("fails_once", 3), ("fails_once", 7))
    )


async def test_row_4_what_ends_while_the_api_server_is_gone_is_told_afterwards(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        here.seat.keep_alive()
        await here.proxy.fall()
        said = {"step": 100, "totalSteps": 100, "metrics": {"loss": 0.25}}
        await stage.end(1)
        await stage.end(0, 0, {"progress": said})
        await here.until(
            "the batch Job is complete",
            lambda: all(j["status"].get("succeeded") == 2 for j in stage.children("jobs")),
        )
        await here.proxy.rise()
        await stage.finishes()
        compare_after_outage(baselines, "happy", await outcome_of(stage), here)
