"""Heartbeat: who has fallen silent is lost; who is slow, leaves or was paused together is not."""

import itertools
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from lepton import InputError
from lepton.errors import PeerLostError
from lepton.heartbeat import BEAT, LEFT, LOOK, PATIENCE, PATIENCE_VARIABLE, Heartbeat, Silence


class Group:
    """What one rank of three hears, on a clock of its own."""

    def __init__(self, rank: int = 0) -> None:
        self.now = 100.0
        self.silence = Silence(rank, 3, PATIENCE, self.now)
        self.counts = [b"0", b"0", b"0"]
        self._beats = itertools.count(1)

    def live(self, seconds: float, beating: set[int], answers: bool = True) -> int | None:
        """The rank that is found lost in that time, if any."""
        end = self.now + seconds
        while self.now < end:
            self.now += LOOK
            beat = str(next(self._beats)).encode()
            for rank in beating:
                self.counts[rank] = beat
            if answers:
                self.silence.hear(list(self.counts), self.now)
            lost = self.silence.lost(self.now)
            if lost is not None:
                return lost
        return None


def test_ranks_that_beat_are_never_lost_and_one_that_stands_still_is_within_ten_seconds() -> None:
    group = Group()
    assert group.live(3600, {0, 1, 2}) is None
    silent_from = group.now
    assert group.live(60, {0, 1}) == 2
    assert PATIENCE < group.now - silent_from <= 10 - BEAT


def test_while_the_store_does_not_answer_its_host_is_to_blame_and_nobody_else() -> None:
    group = Group(rank=2)
    assert group.live(20, {0, 1, 2}) is None
    assert group.live(60, set(), answers=False) == 0


def test_who_has_left_is_not_missed() -> None:
    group = Group(rank=1)
    assert group.live(5, {0, 1, 2}) is None
    group.counts[2] = LEFT
    assert group.live(60, {0, 1}) is None
    # With the first process its store goes, and whatever could be heard of others.
    group.counts[0] = LEFT
    assert group.live(5, {1}) is None
    assert group.live(60, {1}, answers=False) is None


def test_a_rank_that_left_an_earlier_group_is_watched_once_it_beats_in_this_one() -> None:
    group = Group()
    group.counts = [LEFT] * 3
    assert group.live(60, {0}) is None
    assert group.live(5, {0, 1, 2}) is None
    assert group.live(60, {0, 2}) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_was_itself_stopped_waits_anew(rank: int) -> None:
    group = Group(rank)
    assert group.live(5, {0, 1, 2}) is None
    group.now += 3600
    # The others come back later than it, yet in time.
    assert group.live(PATIENCE - 1, {rank}, answers=rank == 0) is None
    assert group.live(60, {0, 1, 2}) is None
    assert group.live(60, {0, 1}) == 2


def store_of(rank: int, port: int) -> dist.TCPStore:
    return dist.TCPStore(
        "localhost", port, 2, is_master=rank == 0, timeout=timedelta(seconds=30),
        wait_for_workers=False,
    )  # fmt: skip


@pytest.mark.parametrize("failed", [True, False])
def test_a_rank_that_fails_is_named_to_the_others_and_one_that_ends_properly_is_not(
    monkeypatch: pytest.MonkeyPatch, port: int, failed: bool
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, str(3 * BEAT))
    told: list[PeerLostError] = []
    heard = threading.Event()

    def end(error: PeerLostError) -> None:
        told.append(error)
        heard.set()

    first = store_of(0, port)
    beats = Heartbeat(first.clone(), 0, 2, end)
    other = Heartbeat(store_of(1, port), 1, 2, end)
    first.wait(["lepton/heartbeat/1"])
    time.sleep(2 * BEAT)
    other.stop(failed=failed)
    assert heard.wait(60 if failed else 5 * BEAT) == failed
    beats.stop(failed=False)
    assert [str(error) for error in told] == (
        [
            "another worker process ended or is unreachable: rank 1 of 2 has given no sign of life "
            "for 3 s; it is stopped, out of CPU or memory, or cut off from the network"
        ]
        if failed
        else []
    )


@pytest.mark.parametrize("text", ["soon", "1", "nan", "-5"])
def test_a_patience_that_is_no_number_of_seconds_or_shorter_than_beats_allow_is_refused(
    monkeypatch: pytest.MonkeyPatch, port: int, text: str
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, text)
    with pytest.raises(InputError, match=f"{PATIENCE_VARIABLE} must be 3 seconds or more"):
        Heartbeat(store_of(0, port), 0, 2)


RUN = {
    "environment": {"count": 16},
    "agent": {"hyperparameters": {"horizon": 16}},
    "trainer": {"maxSteps": 10**9},
    "evaluation": {"episodes": 1},
}


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_rank_ends_the_other_which_says_who_it_was(
    workers: Callable[..., Any],
    last_word: Callable[[int], Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
    stopped: int,
) -> None:
    pair = workers(RUN, size=2, port=port)
    assert eventually(lambda: '"step":0' not in fetch(port, "/progress")[1])
    pair[stopped].process.send_signal(signal.SIGSTOP)
    other = 1 - stopped
    assert pair[other].wait() == 1, pair[other].output
    error = last_word(other)["error"]
    assert error["secondary"] is True
    assert error["silent"] == stopped
    assert f"rank {stopped} of 2 has given no sign of life for 8 s" in error["line"]
    assert f"rank {other}: error: another worker process" in pair[other].output
    assert "Traceback" not in pair[other].output


SLOW_TASK = """
import os, time
import gymnasium

class Task(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)
    slept = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        if os.environ["RANK"] == "1" and not self.slept:
            self.slept = True
            time.sleep(8)
        return 0, 1.0, True, False, {}
"""


def test_a_rank_whose_steps_take_longer_than_the_patience_is_waited_for(
    tmp_path: Path, workers: Callable[..., Any]
) -> None:
    (tmp_path / "slow_task.py").write_text(SLOW_TASK)
    run = {
        "environment": {"entryPoint": "slow_task:Task", "count": 1},
        "agent": {"hyperparameters": {"horizon": 16}},
        "trainer": {"maxSteps": 32},
        "evaluation": {"episodes": 1},
    }
    for process in workers(run, size=2, LEPTON_PEER_PATIENCE=str(4 * BEAT)):
        assert process.wait() == 0, process.output


def test_a_pair_that_is_stopped_together_goes_on_when_it_is_continued(
    workers: Callable[..., Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
) -> None:
    pair = workers(RUN, size=2, port=port, LEPTON_PEER_PATIENCE=str(4 * BEAT))
    assert eventually(lambda: '"step":0' not in fetch(port, "/progress")[1])
    for signal_number, seconds in (signal.SIGSTOP, 8 * BEAT), (signal.SIGCONT, 8 * BEAT):
        for process in pair:
            process.process.send_signal(signal_number)
        time.sleep(seconds)
    before = fetch(port, "/progress")[1]
    assert eventually(lambda: fetch(port, "/progress")[1] != before)
    for process in pair:
        process.process.terminate()
    assert [process.wait() for process in pair] == [143, 143], pair[0].output
