"""Rows 14 and 21: two operators, and never two writers."""

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

import campaign
from campaign.baseline import side_by_side
from campaign.faults import Before, Delay, Rule
from campaign.lives import fails_once, live, outcome_of
from campaign.requests import STATUS_WRITE
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(1800)


def reigns(here):
    """Which operators wrote, in order, each named once for as long as no other wrote."""
    writes = [
        (exchange.time, number)
        for number, seat in enumerate(here.seats)
        for exchange in seat.proxy.exchanges
        if exchange.request.writes
        and exchange.took_effect
        and exchange.request.resource != "leases"
    ]
    return [number for number, _ in itertools.groupby(number for _, number in sorted(writes))]


async def with_standby(here):
    """Start the second operator, and wait until it is ready to take over."""
    standby = here.seats[1]
    await standby.process.start()
    while (await standby.process.probe("/readyz"))[0] != 200:
        await asyncio.sleep(0.2)
    assert here.seat.leads
    assert not standby.leads
    return standby


async def test_row_14_a_leader_that_is_cut_off_ends_before_another_begins(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path, seats=2) as here:
        standby, stage = await with_standby(here), Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        await here.proxy.fall()
        assert await here.seat.process.ended() == 1
        await here.until("the standby leads", lambda: standby.leads)
        await here.proxy.rise()
        await here.seat.process.start()
        await stage.end_well(workers=2)
        outcome = await outcome_of(stage)
        assert reigns(here) == [0, 1]
        baselines.compare("happy", outcome, here, crashes=9)


async def test_row_14_a_leader_that_was_paused_writes_nothing_when_it_goes_on(
    cluster, baselines, tmp_path
):
    await baselines.of("fails_once")
    async with scene(cluster, tmp_path, seats=2) as here:
        standby, stage = await with_standby(here), Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        here.seat.process.send(signal.SIGSTOP)
        await stage.end(
            1, 1, {"rank": 1, "error": {"line": "ValueError: boom", "where": "train.py:3 in step"}}
        )
        await here.until("the standby leads", lambda: standby.leads)
        await stage.trains(2, workers=2)
        # All that has happened lies before it, unread, and seems to wait to be written.
        here.seat.process.send(signal.SIGCONT)
        assert await here.seat.process.ended() == 1
        await stage.end_well(workers=2)
        outcome = await outcome_of(stage)
        assert reigns(here) == [0, 1]
        baselines.compare("fails_once", outcome, here, crashes=9)


@pytest.fixture
def clock(tmp_path):
    """A library that moves the wall clock of whoever loads it, and the file that has it do so."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("moving a clock needs a C compiler")
    source = Path(campaign.__file__).with_name("clock.c")
    library, moved = tmp_path / "clock.so", tmp_path / "moved"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library, moved


async def test_row_14_a_clock_that_is_moved_by_an_hour_changes_neither_leader_nor_life(
    cluster, baselines, tmp_path, clock, monkeypatch
):
    library, moved = clock
    monkeypatch.setenv("CAMPAIGN_CLOCK", os.fspath(moved))
    await baselines.of("fails_once")
    async with scene(cluster, tmp_path, seats=2, start=False) as here:
        await here.seat.process.start(library=library)
        await here.until("the operator leads", lambda: here.seat.leads)
        standby = await with_standby(here)

        async def move():
            moved.touch()

        here.proxy.strike(Rule(STATUS_WRITE, Before(move), skip=1))
        outcome = await live(here, fails_once)
        assert moved.exists()
        assert not standby.leads
        assert reigns(here) == [0]
        baselines.compare("fails_once", outcome, here)


JOBS = 200
DRAINED_IN, TAKEN_OVER_IN = 25, 5
"""Seconds that the end of a leader may take, of the 30 that a kubelet gives it; and then the
beginning of its successor."""


async def test_row_21_sigterm_under_load_loses_nothing_and_hands_over_at_once(cluster, tmp_path):
    async with scene(cluster, tmp_path, seats=2) as here:
        standby = await with_standby(here)
        here.proxy.strike(Rule(STATUS_WRITE, Delay(1), times=None))
        stages = [Stage(here, f"job-{number:02d}") for number in range(JOBS)]
        await side_by_side((partial(s.apply, suspend=True) for s in stages), at_once=16)
        await here.until("some are done", lambda: sum(bool(s.status) for s in stages) >= JOBS // 4)
        asked = time.monotonic()
        here.seat.process.send(signal.SIGTERM)
        assert await here.seat.process.ended() == 0
        last = here.proxy.exchanges[-1]
        print(f"drained {last.time - asked:.1f} s after SIGTERM")
        assert last.time - asked <= DRAINED_IN
        sent = [e for e in here.proxy.exchanges if e.request.writes]
        assert all(e.told is not None for e in sent), "what was under way was waited for"
        left = sum(not stage.status for stage in stages)
        assert left > 0, "it ended under load"
        await here.until("the standby leads", lambda: standby.leads)
        lease = await here.api.get(
            f"/apis/coordination.k8s.io/v1/namespaces/{here.namespace}/leases/lepton-operator"
        )
        taken = next(e for e in standby.proxy.exchanges if e.request.writes)
        print(f"taken over {taken.time - last.time:.1f} s after the last word of the first")
        assert taken.time - last.time <= TAKEN_OVER_IN
        assert lease["spec"]["leaseTransitions"] == 1
        assert str(last.request) == "update leases", "given back, so that nobody need wait for it"
        await here.until("all rest", lambda: all(s.true("Suspended") for s in stages))
        await here.quiet()
        assert reigns(here) == [0, 1]
