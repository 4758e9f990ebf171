"""The work queue against a model of client-go's semantics, and its getters on a real loop."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lepton_operator.engine.queue import LAST_RETRY, Lane, ShutDownError, WorkQueue

KEYS = st.sampled_from("abcde")


class QueueMachine(RuleBasedStateMachine):
    """Adds, delays, gets and finishes in any order, next to the simplest model of the promise."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue: WorkQueue[str] = WorkQueue(
            clock=lambda: self.now, jitter=lambda: 1.0, group=lambda key: key < "b"
        )
        self.wanted: set[str] = set()  # has to be handed out, sooner or later, once
        self.due: dict[str, float] = {}
        self.processing: set[str] = set()

    def promote(self) -> None:
        for key, due in list(self.due.items()):
            if due <= self.now:
                del self.due[key]
                self.wanted.add(key)

    @rule(key=KEYS, lane=st.sampled_from(Lane))
    def add(self, key: str, lane: Lane) -> None:
        self.queue.add(key, lane)
        self.wanted.add(key)

    @rule(key=KEYS, seconds=st.integers(0, 5))
    def add_after(self, key: str, seconds: int) -> None:
        self.promote()
        len(self.queue)
        self.queue.add_after(key, seconds)
        if seconds == 0:
            self.wanted.add(key)
        else:
            self.due[key] = min(self.due.get(key, float("inf")), self.now + seconds)

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def get(self) -> None:
        self.promote()
        key = self.queue.try_get()
        if key is None:
            assert self.wanted <= self.processing
            return
        assert key in self.wanted
        assert key not in self.processing
        self.wanted.remove(key)
        self.processing.add(key)

    @rule(key=KEYS)
    def done(self, key: str) -> None:
        if key in self.processing:
            self.promote()
            len(self.queue)
            self.processing.remove(key)
            self.queue.done(key)

    @invariant()
    def as_many_wait_as_in_the_model(self) -> None:
        self.promote()
        assert len(self.queue) == len(self.wanted - self.processing)
        assert self.queue.processing == len(self.processing)
        assert self.queue.delayed == len(self.due)


TestQueueKeepsItsPromises = QueueMachine.TestCase
TestQueueKeepsItsPromises.settings = settings(max_examples=200, deadline=None)


def test_keys_come_in_the_order_in_which_they_were_added(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    for key in "cabac":
        queue.add(key)
    assert [queue.try_get() for _ in range(4)] == ["c", "a", "b", None]


def test_background_keys_come_last_but_are_not_starved(clock: Any) -> None:
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    queue.add(-1, Lane.BACKGROUND)
    queue.add(-2, Lane.BACKGROUND)
    for key in range(20):
        queue.add(key)
    taken = [queue.try_get() for _ in range(22)]
    assert taken[0] == 0
    assert taken.index(-1) == 8
    assert taken.index(-2) < 20


def test_a_background_key_that_is_added_again_is_no_longer_in_the_background(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("other", Lane.BACKGROUND)
    queue.add("key", Lane.BACKGROUND)
    queue.add("key")
    assert queue.try_get() == "key"
    assert len(queue) == 1


def test_new_keys_come_first_but_keep_no_other_from_its_turn(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("changed")
    queue.add("background", Lane.BACKGROUND)
    for n in range(20):
        queue.add(f"new {n}", Lane.NEW)
    taken = [queue.try_get() for _ in range(12)]
    assert taken.index("changed") == 3
    assert taken.index("background") == 8


def test_a_new_key_need_not_wait_for_all_that_came_before_it(clock: Any) -> None:
    queue: WorkQueue[int] = WorkQueue(clock=clock)
    for n in range(1000):
        queue.add(n, Lane.NEW)
    assert [queue.try_get() for _ in range(4)] == [0, 999, 1, 998]
    queue.add(1000, Lane.NEW)
    assert 1000 in [queue.try_get() for _ in range(2)]


@pytest.mark.parametrize("lane", Lane)
def test_groups_take_turns_however_many_keys_one_of_them_has(clock: Any, lane: Lane) -> None:
    queue: WorkQueue[tuple[str, int]] = WorkQueue(clock=clock, group=lambda key: key[0])
    for n in range(1000):
        queue.add(("crowd", n), lane)
    queue.add(("other", 0), lane)
    for n in range(1000, 2000):
        queue.add(("crowd", n), lane)
    queue.add(("other", 1), lane)
    taken = [queue.try_get() for _ in range(5)]
    assert [key[0] for key in taken if key] == ["crowd", "other", "crowd", "other", "crowd"]
    assert taken[1] == ("other", 0)


def test_a_key_keeps_the_better_of_its_lanes(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("key", Lane.NEW)
    queue.add("key")
    queue.add("other")
    assert queue.try_get() == "key"
    queue.add("key")
    queue.add("key", Lane.NEW)
    queue.add("key", Lane.BACKGROUND)
    queue.done("key")
    assert [queue.try_get(), queue.try_get()] == ["key", "other"]


def test_a_key_with_more_to_do_stays_in_its_lane(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add("new", Lane.NEW)
    queue.add("changed")
    assert queue.try_get() == "new"
    queue.add_after("new", 0)
    queue.done("new")
    assert [queue.try_get(), queue.try_get()] == ["new", "changed"]


def test_retries_of_a_key_back_off_until_it_is_forgotten(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock, jitter=lambda: 1.0)
    pauses = []
    for _ in range(12):
        pauses.append(queue.retry("key"))
        clock.advance(pauses[-1])
        assert queue.try_get() == "key"
        queue.done("key")
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LAST_RETRY
    assert queue.failures("key") == 12
    queue.forget("key")
    assert queue.retry("key") == 0.5


def test_an_earlier_time_wins_over_a_later_one(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("key", 300)
    queue.add_after("key", 5)
    queue.add_after("key", 100)
    clock.advance(5)
    assert queue.try_get() == "key"
    queue.done("key")
    clock.advance(1000)
    assert queue.try_get() is None


def test_the_wait_of_the_oldest_key_is_known(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    assert queue.oldest_wait() == 0
    queue.add("one")
    clock.advance(3)
    queue.add("two")
    clock.advance(2)
    assert queue.oldest_wait() == 5
    queue.try_get()
    assert queue.oldest_wait() == 2


def test_replaced_times_do_not_pile_up(clock: Any) -> None:
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    for _ in range(10_000):
        queue.add_after("key", 300)
        queue.add_after("key", 0.01)
        clock.advance(0.02)
        assert queue.try_get() == "key"
        queue.done("key")
    assert len(queue._heap) < 200


async def test_a_delayed_key_wakes_a_waiting_getter() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("late", 3600)
    queue.add_after("soon", 0.001)
    assert await getter == "soon"


async def test_each_key_wakes_one_getter_even_if_another_was_cancelled() -> None:
    queue: WorkQueue[int] = WorkQueue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add(1)
    getters[0].cancel()  # was woken for the key, and does not take it
    queue.add(2)
    assert {await getters[1], await getters[2]} == {1, 2}


async def test_shut_down_gives_out_what_is_ready_and_then_tells() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("ready")
    queue.add_after("later", 0.001)
    queue.shut_down()
    queue.add("too late")
    assert await queue.get() == "ready"
    queue.add("ready")
    queue.done("ready")
    with pytest.raises(ShutDownError):
        await queue.get()


async def test_shut_down_wakes_all_getters() -> None:
    queue: WorkQueue[str] = WorkQueue()
    getters = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shut_down(discard=True)
    results = await asyncio.gather(*getters, return_exceptions=True)
    assert all(isinstance(result, ShutDownError) for result in results)
