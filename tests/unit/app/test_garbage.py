"""Python's collector of garbage while the caches fill, and afterwards."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from lepton_operator.app.garbage import MIDDLE, NEVER, OLD, YOUNG, spare


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    yield
    gc.set_threshold(*thresholds)
    if not frozen:
        gc.unfreeze()


async def test_what_fills_the_caches_is_not_looked_at_then_or_later() -> None:
    caches: list[list[int]] = []

    async def fill() -> None:
        assert gc.get_threshold() == (YOUNG, MIDDLE, NEVER)
        caches.extend([n] for n in range(100))

    frozen = gc.get_freeze_count()
    await spare(fill())
    assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
    assert gc.get_freeze_count() >= frozen + len(caches)
    looked_at = {id(each) for each in gc.get_objects()}
    assert not looked_at & {id(each) for each in caches}


async def test_filling_that_is_cancelled_leaves_the_collector_as_it_is_at_work() -> None:
    filling = asyncio.create_task(spare(asyncio.sleep(60)))
    await asyncio.sleep(0)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
