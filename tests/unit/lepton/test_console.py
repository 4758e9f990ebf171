"""Progress as a person sees it: one line of a terminal, or a line of a log now and then."""

import io

import pytest

from lepton.spec.report import Progress
from lepton.training.console import LOG_INTERVAL, TERMINAL_INTERVAL, Console, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("lepton.training.console.time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_on_a_terminal_one_line_changes_and_gives_way_to_lines_that_stay(clock: Clock) -> None:
    stream = Terminal()
    console = Console(True, stream)
    for step in (100, 200, 300):
        console.progress(Progress(step=step))
        clock.now += TERMINAL_INTERVAL
    # What follows too soon is not shown: it could not be read.
    console.progress(Progress(step=400))
    clock.now += TERMINAL_INTERVAL / 2
    console.progress(Progress(step=450))
    clear = "\r\033[K"
    shown = "".join(f"{clear}step {step}" for step in (100, 200, 300, 400))
    assert stream.getvalue() == shown
    console.say("saved")
    console.say("done")
    assert stream.getvalue() == f"{shown}{clear}saved\ndone\n"


def test_a_log_gets_a_line_soon_and_then_every_ten_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    console = Console(True, stream)
    shown = []
    for step in range(0, 300):
        console.progress(Progress(step=step))
        if len(stream.getvalue().splitlines()) > len(shown):
            shown.append(step / 10)
        clock.now += 0.1
    assert shown == pytest.approx([2, 2 + LOG_INTERVAL, 2 + 2 * LOG_INTERVAL], abs=0.11)
    console.say("done")
    lines = stream.getvalue().splitlines()
    assert lines == [*(f"step {round(10 * second)}" for second in shown), "done"]


def test_switched_off_it_shows_nothing(clock: Clock) -> None:
    stream = Terminal()
    console = Console(False, stream)
    clock.now += 100
    console.progress(Progress(step=1))
    console.say("done")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(step=45_056), "step 45,056"),
        (
            Progress(
                step=45_056,
                total_steps=100_000,
                episodes=812,
                steps_per_second=41_200.4,
                metrics={"episode_reward_mean": 143.21, "evaluation_reward_mean": 150.0},
            ),
            "step 45,056 of 100,000 (45%) · 812 episodes · reward 143.2 · evaluated 150.0 · "
            "41,200 steps/s",
        ),
        (
            Progress(step=10, episodes=5, total_episodes=20, metrics={"episode_reward_mean": None}),
            "step 10 · 5 of 20 episodes (25%)",
        ),
        (Progress(step=10, episodes=5, done=0.5), "step 10 · 5 episodes (50%)"),
    ],
)
def test_a_line_says_what_is_known(clock: Clock, progress: Progress, line: str) -> None:
    stream = Terminal()
    Console(True, stream).progress(progress)
    assert stream.getvalue() == f"\r\033[K{line}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (150, "2m30s"),
        (3899.6, "1h05m"),
        (90_000, "25h00m"),
    ],
)
def test_durations_are_told_to_the_second_or_minute(seconds: float, text: str) -> None:
    assert duration(seconds) == text
