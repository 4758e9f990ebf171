"""The token bucket on a clock of its own."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_operator.engine.limits import TokenBucket


def test_no_more_than_the_burst_at_once_and_the_rate_later(clock: Any) -> None:
    bucket = TokenBucket(10, 3, clock=clock)
    assert [bucket.try_take() for _ in range(4)] == [True, True, True, False]
    clock.advance(0.1)
    assert [bucket.try_take() for _ in range(2)] == [True, False]
    clock.advance(1000)
    assert [bucket.try_take() for _ in range(4)] == [True, True, True, False]


async def test_takers_are_served_in_the_order_in_which_they_came(clock: Any) -> None:
    waits: list[tuple[int, float]] = []

    async def taker(number: int) -> None:
        async def sleep(seconds: float) -> None:
            waits.append((number, seconds))

        bucket._sleep = sleep
        await bucket.take()

    bucket = TokenBucket(2, 1, clock=clock)
    for number in range(4):
        await taker(number)
    assert waits == [(1, 0.5), (2, 1.0), (3, 1.5)]


async def test_a_taker_that_is_cancelled_gives_its_token_back(clock: Any) -> None:
    bucket = TokenBucket(1, 1, clock=clock)
    await bucket.take()
    taker = asyncio.create_task(bucket.take())
    await asyncio.sleep(0)
    taker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taker
    clock.advance(1)
    assert bucket.try_take()


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_in_no_stretch_of_time_is_more_taken_than_promised(
    steps: list[float], rate: float, burst: int
) -> None:
    now = 0.0
    bucket = TokenBucket(rate, burst, clock=lambda: now)
    taken: list[float] = []
    for step in steps:
        now += step
        while bucket.try_take():
            taken.append(now)
    for i, start in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= burst + (taken[j] - start) * rate + 1e-6


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_bucket_that_would_never_give_anything_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        TokenBucket(rate, burst)
