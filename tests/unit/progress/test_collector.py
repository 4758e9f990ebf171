"""The collector asks first workers when they are due, and tells of news only."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from lepton.spec.report import Progress
from lepton_operator.progress.board import Board
from lepton_operator.progress.collector import Collector
from lepton_operator.progress.fetch import FetchError
from lepton_operator.progress.pacing import Pacer
from lepton_operator.reconcile.observed import PodView

KEY = ("default", "job")


def pod(uid: str = "u") -> PodView:
    """A first worker that runs."""
    return PodView.from_object(
        {
            "metadata": {
                "namespace": "default",
                "name": "job-1-0",
                "uid": uid,
                "labels": {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"},
            },
            "status": {"phase": "Running", "podIP": "127.0.0.1"},
        }
    )


class Bench:
    """A collector with its surroundings in hand."""

    def __init__(self) -> None:
        self.pods = [(KEY, pod())]
        self.answers: list[Progress | Exception] = []
        self.asked: list[str] = []
        self.news: list[tuple[str, str]] = []
        self.board: Board[tuple[str, str]] = Board()
        self.pacer: Pacer[tuple[str, str]] = Pacer(minimum=0.02, writes_per_second=1000)
        self.collector = Collector(
            first_workers=lambda: self.pods,
            fetch=self,
            board=self.board,
            pacer=self.pacer,
            on_news=self.news.append,
            now=lambda: datetime.now(UTC),
        )
        self.collector.TICK_SECONDS = 0.005

    async def __call__(self, asked: PodView) -> Progress:
        self.asked.append(asked.uid)
        answer = self.answers.pop(0) if self.answers else Progress(step=len(self.asked))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
async def bench():
    """A collector that runs from `start` on."""
    made = Bench()
    tasks = []
    made.start = lambda: tasks.append(asyncio.create_task(made.collector.run()))
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def reached(look) -> None:
    """Waits until `look` is true; the test's own limit ends a wait in vain."""
    while not look():
        await asyncio.sleep(0.005)


async def test_every_new_figure_is_news(bench):
    bench.start()
    await reached(lambda: len(bench.news) >= 3)
    assert set(bench.news) == {KEY}
    sample = bench.board.get(KEY, 1)
    assert sample is not None
    assert sample.progress.step >= 3


async def test_the_same_figure_is_no_news(bench):
    bench.answers = [Progress(step=7)] * 1000
    bench.start()
    await reached(lambda: len(bench.asked) >= 5)
    assert len(bench.news) == 1


async def test_a_pod_that_fails_to_answer_is_asked_again(bench):
    bench.answers = [FetchError("refused"), FetchError("refused")]
    bench.start()
    await reached(lambda: bench.news)
    assert len(bench.asked) >= 3


async def test_a_pod_that_never_answers_is_asked_more_and_more_seldom(bench):
    now, asked = 0.0, []

    async def silent(_: PodView) -> Progress:
        asked.append(now)
        raise FetchError("refused")

    bench.collector._fetch, bench.collector._clock = silent, lambda: now
    bench.collector.TICK_SECONDS = 0.0
    bench.pacer._minimum = 10.0
    bench.start()
    while now < 600.0:
        now += 1.0
        for _ in range(8):
            await asyncio.sleep(0)
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 10.0
    assert pauses[-1] == 60.0


async def test_what_is_written_a_moment_late_is_asked_for_in_time_again(bench):
    now, asked = 0.0, []
    bench.collector._clock = bench.pacer._clock = lambda: now
    bench.collector.TICK_SECONDS, bench.pacer._minimum = 1.0, 10.0
    for tick in range(100):
        now = float(tick)
        await bench.collector._start_due_pulls()
        await asyncio.gather(*bench.collector._pulls)
        if len(bench.asked) > len(asked):
            asked.append(now)
            now += 0.3
            bench.pacer.written(KEY)
    assert asked == [10.0 * n for n in range(10)]


async def test_a_new_pod_is_asked_again_just_before_its_progress_may_be_written(bench):
    now, asked = 0.0, []
    bench.collector._clock = bench.pacer._clock = lambda: now
    bench.collector.TICK_SECONDS, bench.pacer._minimum = 1.0, 10.0
    bench.pacer.written(KEY)
    # A look takes a moment, and more so with thousands of jobs.
    for tick in range(2, 11):
        now = 1.15 * tick
        await bench.collector._start_due_pulls()
        await asyncio.gather(*bench.collector._pulls)
        if len(bench.asked) > len(asked):
            asked.append(now)
    first, second = asked
    assert first == 2.3
    assert 7.0 < second < 10.0


async def test_thousands_that_are_due_at_once_leave_turns_to_others(bench):
    bench.pods = [(("default", f"job-{n}"), pod(f"u{n}")) for n in range(1000)]
    tick = asyncio.create_task(bench.collector._start_due_pulls())
    await asyncio.sleep(0)
    turns = [len(bench.collector._due)]
    while not tick.done():
        await asyncio.sleep(0)
        turns.append(len(bench.collector._due))
    await asyncio.gather(*bench.collector._pulls)
    assert max(after - before for before, after in pairwise([0, *turns])) <= 100
    assert sorted(bench.asked) == sorted(f"u{n}" for n in range(1000))


async def test_a_new_pod_is_asked_at_once(bench):
    bench.pacer._minimum = 3600
    bench.start()
    await reached(lambda: bench.asked)
    bench.pods = [(KEY, pod("second"))]
    await reached(lambda: "second" in bench.asked)


async def test_a_job_is_not_asked_before_its_progress_may_be_written(bench):
    bench.start()
    await reached(lambda: len(bench.asked) >= 2)
    bench.pacer.wait = lambda _: 3600.0
    await asyncio.sleep(0.05)
    count = len(bench.asked)
    await asyncio.sleep(0.1)
    assert len(bench.asked) == count


async def test_a_job_that_ended_is_not_asked_any_more(bench):
    bench.start()
    await reached(lambda: bench.asked)
    bench.pods = []
    await asyncio.sleep(0.05)
    count = len(bench.asked)
    await asyncio.sleep(0.1)
    assert len(bench.asked) == count
    assert bench.pacer.running == 0


async def test_a_pod_counts_as_asked_whether_it_answers_or_not(bench):
    bench.answers = [FetchError("no answer")] * 1000
    bench.start()
    await reached(lambda: bench.board.last_asked(KEY, 1) is not None)
    assert bench.board.get(KEY, 1) is None
    assert bench.board.last_asked(KEY, 2) is None
