"""The board keeps the latest sample of an attempt and a short history of its leading metric."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lepton.spec.report import Progress
from lepton_operator.progress.board import SPARKS, Board, sparkline, thinned

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_same_report_twice_is_no_news():
    board: Board[str] = Board()
    assert board.put("a", 1, Progress(step=1), NOW)
    assert not board.put("a", 1, Progress(step=1), NOW)
    assert board.put("a", 1, Progress(step=2), NOW)


def test_a_new_attempt_forgets_the_one_before():
    board: Board[str] = Board()
    board.put("a", 1, Progress(step=9, metrics={"reward": 1.0}), NOW)
    board.put("a", 2, Progress(step=1, metrics={"reward": 2.0}), NOW)
    assert board.get("a", 1) is None
    sample = board.get("a", 2)
    assert sample is not None
    assert sample.leading == [2.0]


def test_the_trend_follows_the_leading_metric_and_overlooks_values_that_are_not_finite():
    board: Board[str] = Board()
    for step, reward in enumerate((0.0, None, 5.0, 10.0)):
        board.put("a", 1, Progress(step=step, metrics={"reward": reward}), NOW)
    sample = board.get("a", 1)
    assert sample is not None
    assert sample.trend == f"{SPARKS[0]}{SPARKS[4]}{SPARKS[7]}"


def reports(*losses):
    """The sample after reports of these losses."""
    board: Board[str] = Board()
    for step, loss in enumerate(losses):
        board.put("a", 1, Progress(step=step, metrics={"loss": loss, "reward": 1.0}), NOW)
    sample = board.get("a", 1)
    assert sample is not None
    return sample


def test_a_metric_that_was_a_number_and_is_none_any_more_is_not_finite():
    assert reports(0.5).non_finite == ()
    assert reports(0.5, None).non_finite == ("loss",)
    assert reports(0.5, None, 0.4).non_finite == ()


def test_a_metric_that_never_was_a_number_says_nothing():
    assert reports(None, None).non_finite == ()


def test_an_attempt_that_was_not_asked_yet_has_no_time():
    board: Board[str] = Board()
    assert board.last_asked("a", 1) is None
    board.asked("a", 1, NOW)
    assert board.last_asked("a", 1) == NOW
    assert board.last_asked("a", 2) is None
    board.forget("a")
    assert board.last_asked("a", 1) is None


def test_history_stays_short_however_long_a_job_runs():
    board: Board[str] = Board()
    for step in range(10_000):
        board.put("a", 1, Progress(step=step, metrics={"reward": float(step)}), NOW)
    sample = board.get("a", 1)
    assert sample is not None
    assert len(sample.leading) <= Board.HISTORY
    assert sample.leading[-1] == 9999
    assert len(sample.trend or "") == 8


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=100))
def test_a_sparkline_has_one_bar_a_value_and_its_extremes_at_its_ends(values):
    line = sparkline(values)
    assert len(line) == (len(values) if len(values) > 1 else 0)
    if line and len(set(line)) > 1:
        assert line[values.index(max(values))] == SPARKS[-1]
        assert line[values.index(min(values))] == SPARKS[0]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=200), st.integers(2, 20))
def test_thinning_keeps_first_and_last(values, count):
    thin = thinned(values, count)
    assert len(thin) == min(len(values), count)
    assert thin[0] == values[0]
    assert thin[-1] == values[-1]
