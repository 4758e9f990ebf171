"""Rows 15 and 22: one poison job among many, and an hour of churn."""

import asyncio
import itertools
import os
import time

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Delay, Refuse, Rule
from campaign.requests import Which
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(5400)

OTHERS = int(os.environ.get("OTHERS", "1000"))
CHURN_MINUTES = float(os.environ.get("CHURN_MINUTES", "60"))


@pytest.mark.parametrize(
    "poison",
    [Refuse(500, "InternalError", "poison"), Refuse(422, "Invalid", "poison"), Delay(30)],
    ids=lambda fault: f"{type(fault).__name__}-{getattr(fault, 'code', '')}",
)
async def test_row_15_a_job_that_can_not_be_written_leaves_the_others_alone(
    cluster, tmp_path, poison
):
    async with scene(cluster, tmp_path) as here:
        rule = here.proxy.strike(
            Rule(Which(frozenset({"patch"}), name="poison"), poison, times=None)
        )
        bad = Stage(here, "poison")
        await bad.apply(suspend=True)
        await here.until("the poison works", lambda: rule.struck > 0)
        others = [Stage(here, f"job-{number:04d}") for number in range(OTHERS)]
        await side_by_side([lambda s=s: s.apply(suspend=True) for s in others], at_once=16)
        await here.until("the others rest", lambda: all(s.true("Suspended") for s in others))
        assert not bad.status
        writes = [e for e in here.proxy.exchanges if e.request.subresource == "status"]
        mine = [e for e in writes if e.request.name == "poison"]
        assert len(writes) - len(mine) == OTHERS, "one write each, and none again"
        assert len(mine) <= 60, "what fails is tried more and more seldom"
        here.proxy.rules.remove(rule)
        if not isinstance(poison, Delay):
            await here.seat.restart()
        await bad.reaches("Suspended")


@pytest.mark.long
async def test_row_22_an_hour_of_churn_leaves_memory_and_descriptors_as_they_were(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        process, figures = here.seat.process, []
        end = time.monotonic() + 60 * CHURN_MINUTES
        for round_ in itertools.count():
            stages = [Stage(here, f"job-{round_ % 7}-{number}") for number in range(40)]
            await side_by_side([lambda s=s: s.apply(suspend=True) for s in stages], at_once=8)
            await here.until("all rest", lambda s=stages: all(j.true("Suspended") for j in s))
            for stage in stages:
                await stage.delete()
            await here.until("all are gone", lambda: not here.recorder.now("leptontrainingjobs"))
            here.recorder.forget()
            here.proxy.exchanges.clear()
            figures.append(
                (process.figure("VmRSS"), process.descriptors(), process.figure("Threads"))
            )
            kibibytes, descriptors, threads = figures[-1]
            print(f"{round_}: {kibibytes // 1024} MiB, {descriptors} files, {threads} threads")
            if time.monotonic() > end:
                break
            await asyncio.sleep(1)
        assert process.starts == 1
        quarter = len(figures) // 4
        assert quarter > 3, "long enough to tell"
        early, late = figures[quarter : 2 * quarter], figures[-quarter:]
        for what, allowance in ((0, 16 * 1024), (1, 16), (2, 4)):
            before, after = (max(f[what] for f in part) for part in (early, late))
            assert after <= before + allowance
