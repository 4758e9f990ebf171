"""Rows 15 and 22: one poison job among many, and an hour of churn."""

import asyncio
import itertools
import os
import statistics
import time
from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Delay, Refuse, Rule
from campaign.lives import happy
from campaign.requests import Which
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(5400)

OTHERS = int(os.environ.get("OTHERS", "1000"))
WARM_UP = 200
"""Jobs before them that nobody times: what has just begun, API server and operator, is slow."""
CHURN_MINUTES = float(os.environ.get("CHURN_MINUTES", "60"))
SLOWER = 2
"""How many times as long others may wait, at most, beside a job that can't be written."""


def is_suspended(job):
    """Whether a job says that it rests."""
    told = (job.get("status") or {}).get("conditions", ())
    return any(c["type"] == "Suspended" and c["status"] == "True" for c in told)


async def crowd(here, name, size=OTHERS):
    """Many jobs that rest, and after how many seconds 99 of 100 of them did."""
    stages = [Stage(here, f"{name}-{number:04d}") for number in range(size)]
    await side_by_side([lambda s=s: s.apply(suspend=True) for s in stages], at_once=16)
    await here.until("all rest", lambda: all(s.true("Suspended") for s in stages))
    made, rested = {}, {}
    for seen in here.recorder.history:
        if seen.resource == "leptontrainingjobs":
            first = rested if is_suspended(seen.object) else made
            first.setdefault(seen.object["metadata"]["name"], seen.time)
    waits = [rested[stage.name] - made[stage.name] for stage in stages]
    return stages, statistics.quantiles(waits, n=100)[-1]


async def leave(here, stages):
    """All of a crowd go, and nothing is known of them any more."""
    await side_by_side([stage.delete for stage in stages], at_once=16)
    await here.until("all are gone", lambda: not here.recorder.now("leptontrainingjobs"))
    here.recorder.forget()
    here.proxy.exchanges.clear()


@pytest.mark.parametrize(
    "poison",
    [Refuse(500, "InternalError", "poison"), Refuse(422, "Invalid", "poison"), Delay(30)],
    ids=lambda fault: f"{type(fault).__name__}-{getattr(fault, 'code', '')}",
)
async def test_row_15_a_job_that_can_not_be_written_leaves_the_others_alone(
    cluster, tmp_path, poison
):
    async with scene(cluster, tmp_path) as here:
        stages, _ = await crowd(here, "warm", WARM_UP)
        await leave(here, stages)
        stages, without = await crowd(here, "before")
        await leave(here, stages)
        rule = here.proxy.strike(
            Rule(Which(frozenset({"patch"}), name="poison"), poison, times=None)
        )
        bad = Stage(here, "poison")
        await bad.apply(suspend=True)
        await here.until("the poison works", lambda: rule.struck > 0)
        stages, beside = await crowd(here, "job")
        print(f"99 of 100 rest within {without:.2f} s, and beside the poison {beside:.2f} s")
        assert not bad.status
        writes = [e for e in here.proxy.exchanges if e.request.subresource == "status"]
        mine = [e for e in writes if e.request.name == "poison"]
        assert len(writes) - len(mine) == OTHERS, "one write each, and none again"
        assert len(mine) <= 60, "what fails is tried more and more seldom"
        assert beside <= SLOWER * without
        here.proxy.rules.remove(rule)
        if not isinstance(poison, Delay):
            await here.seat.restart()
        await bad.reaches("Suspended")


async def rest_and_go(stage):
    """A job that rests, and is deleted."""
    await stage.apply(suspend=True)
    await stage.reaches("Suspended")
    await stage.delete()


async def live_and_go(stage):
    """A job that trains and ends well, and is deleted."""
    await happy(stage)
    await stage.delete()


CHURNED = 8
"""Jobs in a round, of which half have pods."""
ALLOWED = {"KiB": 16 * 1024, "files": 16, "threads": 4, "tasks": 8}
"""By how much what an operator holds may be more in the last quarter than in the second."""


@pytest.mark.long
async def test_row_22_an_hour_of_churn_leaves_an_operator_as_it_was(cluster, tmp_path):
    async with scene(cluster, tmp_path) as here:
        process, figures = here.seat.process, []
        end = time.monotonic() + 60 * CHURN_MINUTES
        for round_ in itertools.count():
            stages = [Stage(here, f"job-{round_ % 7}-{number}") for number in range(CHURNED)]
            await side_by_side(
                (
                    partial(live_and_go if number % 2 else rest_and_go, stage)
                    for number, stage in enumerate(stages)
                ),
                at_once=CHURNED,
            )
            await here.until("all are gone", lambda: not here.recorder.now("leptontrainingjobs"))
            here.recorder.forget()
            here.proxy.exchanges.clear()
            figures.append(
                {
                    "KiB": process.figure("VmRSS"),
                    "files": process.descriptors(),
                    "threads": process.figure("Threads"),
                    "tasks": await process.tasks(),
                }
            )
            print(f"{round_}: {figures[-1]}")
            if time.monotonic() > end:
                break
            await asyncio.sleep(1)
        assert process.starts == 1
        quarter = len(figures) // 4
        assert quarter > 2, "long enough to tell"
        early, late = figures[quarter : 2 * quarter], figures[-quarter:]
        for what, allowed in ALLOWED.items():
            before, after = (max(figure[what] for figure in part) for part in (early, late))
            assert after <= before + allowed, what
