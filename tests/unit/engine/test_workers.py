"""Workers: back-off, hanging, draining, and the heartbeat."""

import asyncio
import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from lepton_operator.engine.queue import WorkQueue
from lepton_operator.engine.workers import TryAgain, Workers


async def test_a_key_that_fails_is_retried_and_the_others_are_not_held_up(
    kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.002)
    tries: dict[str, int] = {}

    async def reconcile(key: str) -> None:
        tries[key] = tries.get(key, 0) + 1
        if key == "poison" and tries[key] < 4:
            raise RuntimeError("no good")

    workers = Workers(queue, reconcile, count=2)
    workers.start()
    with caplog.at_level(logging.ERROR):
        queue.add("poison")
        for n in range(50):
            queue.add(f"key-{n}")
        await kit.until(lambda: len(tries) == 51 and tries["poison"] == 4)
    assert all(count == 1 for key, count in tries.items() if key != "poison")
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "poison: reconcile failed: RuntimeError: no good"
    ] * 3
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]
    await kit.until(lambda: queue.failures("poison") == 0)
    await workers.stop(1)


async def test_passes_that_wait_for_nothing_let_others_run_in_between() -> None:
    queue: WorkQueue[int] = WorkQueue()
    done = 0

    async def reconcile(_: int) -> None:
        nonlocal done
        done += 1

    for key in range(100):
        queue.add(key)
    workers = Workers(queue, reconcile, count=4)
    workers.start()
    seen = [0]
    while done < 100:
        await asyncio.sleep(0)
        seen.append(done)
    await workers.stop(1)
    assert all(after - before <= 4 for before, after in pairwise(seen))


async def test_a_key_that_can_not_be_done_for_now_is_looked_at_in_time(kit: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 1000.0)
    tries = 0

    async def reconcile(_: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise TryAgain("the quota is used up", timedelta(milliseconds=1))
        raise TryAgain("the quota is used up", None)

    workers = Workers(queue, reconcile, count=1)
    workers.start()
    queue.add("key")
    await kit.until(lambda: tries == 3 and queue.delayed == 1)
    assert queue.failures("key") == 3
    await workers.stop(1)


async def test_one_key_is_never_reconciled_twice_at_once(kit: Any) -> None:
    queue: WorkQueue[str] = WorkQueue()
    running: set[str] = set()
    count = 0

    async def reconcile(key: str) -> None:
        nonlocal count
        assert key not in running
        running.add(key)
        await asyncio.sleep(0.001)
        running.discard(key)
        count += 1

    workers = Workers(queue, reconcile, count=8)
    workers.start()
    for _ in range(20):
        for key in "abc":
            queue.add(key)
        await asyncio.sleep(0.0005)
    await kit.until(lambda: not len(queue) and not queue.processing)
    assert count >= 6
    assert all(queue.failures(key) == 0 for key in "abc")
    await workers.stop(1)


async def test_a_reconcile_that_hangs_is_cut_off_and_retried(
    kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.01)
    tries = 0

    async def reconcile(key: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.Event().wait()

    workers = Workers(queue, reconcile, count=1, timeout=0.02)
    workers.start()
    queue.add("key")
    await kit.until(lambda: tries == 2)
    assert "hung" in caplog.text
    await workers.stop(1)


async def test_what_is_nobodys_fault_is_told_without_alarm(
    kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.01)
    tries = 0

    async def reconcile(key: str) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("changed meanwhile")

    workers = Workers(queue, reconcile, describe=str)
    workers.start()
    with caplog.at_level(logging.INFO):
        queue.add("key")
        await kit.until(lambda: tries == 2)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    await workers.stop(1)


async def test_a_result_says_when_to_look_again(kit: Any) -> None:
    queue: WorkQueue[str] = WorkQueue()
    tries = 0

    async def reconcile(key: str) -> float | None:
        nonlocal tries
        tries += 1
        return 0.001 if tries < 3 else None

    workers = Workers(queue, reconcile, count=1)
    workers.start()
    queue.add("key")
    await kit.until(lambda: tries == 3)
    await kit.until(lambda: not queue.processing)
    assert queue.delayed == 0
    await workers.stop(1)


async def test_stopping_finishes_what_is_begun_and_begins_nothing(kit: Any) -> None:
    queue: WorkQueue[str] = WorkQueue()
    go = asyncio.Event()
    finished = []

    async def reconcile(key: str) -> None:
        await go.wait()
        finished.append(key)

    workers = Workers(queue, reconcile, count=1)
    workers.start()
    queue.add("begun")
    queue.add("waits")
    await kit.until(lambda: queue.processing)
    stopping = asyncio.create_task(workers.stop(5))
    await asyncio.sleep(0)
    go.set()
    assert await stopping
    assert finished == ["begun"]


async def test_stopping_cancels_what_does_not_end_in_time(kit: Any) -> None:
    queue: WorkQueue[str] = WorkQueue()

    async def reconcile(key: str) -> None:
        await asyncio.Event().wait()

    workers = Workers(queue, reconcile, count=1)
    workers.start()
    queue.add("key")
    await kit.until(lambda: queue.processing)
    assert not await workers.stop(0.01)
    assert queue.processing == 0


async def test_workers_are_alive_while_idle_or_busy_and_not_when_nothing_gets_done(
    kit: Any, clock: Any
) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    go = asyncio.Event()

    async def reconcile(key: str) -> None:
        await go.wait()

    workers = Workers(queue, reconcile, count=1, clock=clock)
    workers.start()
    clock.advance(1000)
    assert workers.alive(within=90)
    queue.add("key")
    await kit.until(lambda: queue.processing)
    clock.advance(60)
    assert workers.alive(within=90)
    clock.advance(60)
    assert not workers.alive(within=90)
    go.set()
    await kit.until(lambda: not queue.processing)
    assert workers.alive(within=90)
    await workers.stop(1)
