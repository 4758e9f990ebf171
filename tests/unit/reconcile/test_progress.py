"""What the status shows of a report, whatever the report says."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from situations import at

from lepton.spec.report import MAX_COUNT, Evaluation, LastWord, Progress, SavedModel
from lepton_operator.api.status import LeptonTrainingJobStatus, ProgressStatus
from lepton_operator.reconcile.outcome import verdict, with_last_word
from lepton_operator.reconcile.progress import (
    REWARD_METRIC,
    latest_reward,
    metrics,
    progress_status,
    remaining_seconds,
    stale,
)
from lepton_operator.reconcile.text import duration, exit_text, one_line, reward


def test_share_speed_and_estimate():
    shown = progress_status(
        Progress(step=4200, total_steps=10_000, steps_per_second=38.7654), time=at(0), trend="▁▂"
    )
    assert (shown.percent, shown.summary) == (42, "42%")
    assert shown.steps_per_second == 38.8
    assert (shown.remaining_seconds, shown.remaining) == (150, "2m30s")
    assert (shown.trend, shown.updated_time) == ("▁▂", at(0))


def test_training_to_a_number_of_episodes_is_estimated_by_their_length():
    said = Progress(step=1000, episodes=50, total_episodes=100, steps_per_second=10)
    assert remaining_seconds(said) == 100


def test_the_limit_that_comes_first_ends_training():
    said = Progress(
        step=1000, total_steps=100_000, episodes=90, total_episodes=100, steps_per_second=10
    )
    assert remaining_seconds(said) == pytest.approx(1000 / 90)
    assert progress_status(said, time=None).percent == 90


def test_without_a_total_the_count_is_shown():
    shown = progress_status(Progress(step=12_345), time=at(0))
    assert (shown.percent, shown.summary, shown.remaining) == (None, "12,345 steps", None)


def test_when_nothing_moved_the_time_stays():
    said = Progress(step=5, total_steps=10)
    before = progress_status(said, time=at(0))
    assert progress_status(said, time=at(60), previous=before) is before
    moved = progress_status(Progress(step=6, total_steps=10), time=at(60), previous=before)
    assert moved.updated_time == at(60)


def test_past_the_end_is_the_end():
    shown = progress_status(
        Progress(step=20, total_steps=10, steps_per_second=1), time=None, complete=False
    )
    assert (shown.percent, shown.remaining_seconds) == (100, 0)


def test_after_an_attempt_there_is_no_speed_and_no_estimate():
    shown = progress_status(Progress(step=5, total_steps=10, steps_per_second=1), time=at(0))
    rest = stale(shown)
    assert (rest.step, rest.percent) == (5, 50)
    assert rest.steps_per_second is rest.remaining is rest.remaining_seconds is None


def test_metrics_are_short_finite_and_few():
    said = {"a": 1 / 3, "b": math.nan, "c": None, "d": math.inf, "e": 1e300}
    assert [(m.name, m.value) for m in metrics(said)] == [("a", "0.333333"), ("e", "1e+300")]
    assert len(metrics({f"m{i}": 1.0 for i in range(100)})) == 16


TEXT = st.text(max_size=200)
FLOATS = st.floats()
COUNTS = st.integers(min_value=0, max_value=MAX_COUNT)
TOTALS = st.none() | st.integers(min_value=1, max_value=MAX_COUNT)


@given(
    step=COUNTS,
    total_steps=TOTALS,
    episodes=st.none() | COUNTS,
    total_episodes=TOTALS,
    speed=st.none() | st.floats(min_value=0, allow_infinity=False),
    values=st.dictionaries(TEXT | st.just(REWARD_METRIC), st.none() | FLOATS, max_size=20),
    message=st.none() | TEXT,
    complete=st.booleans(),
)
def test_no_report_makes_an_invalid_status(
    step, total_steps, episodes, total_episodes, speed, values, message, complete
):
    said = Progress.model_construct(
        step=step,
        total_steps=total_steps,
        episodes=episodes,
        total_episodes=total_episodes,
        steps_per_second=speed,
        metrics=values,
        message=message,
    )
    status = LeptonTrainingJobStatus(
        progress=progress_status(said, time=at(0), complete=complete),
        metrics=metrics(values),
        reward=latest_reward(None, values),
    )
    raw = status.to_json_object()
    assert LeptonTrainingJobStatus.model_validate(raw) == status
    assert raw["progress"].get("step", 0) <= 2**53


def judged(mean, threshold=None):
    """An evaluation with this mean."""
    passed = None if threshold is None else mean >= threshold
    return Evaluation(
        episodes=32,
        reward_mean=mean,
        reward_standard_deviation=1.5,
        threshold=threshold,
        passed=passed,
    )


def test_the_last_word_brings_final_figures_evaluation_and_model():
    word = LastWord(
        progress=Progress(step=1000, total_steps=1000, metrics={"loss": 0.5}),
        evaluation=judged(498.2, 475),
        model=SavedModel(path="model/agent.pth", sha256="a" * 64, formats=["pth", "safetensors"]),
    )
    status = with_last_word(
        LeptonTrainingJobStatus(), word, location="pvc://claim/job-01234567", time=at(0)
    )
    assert (status.progress.percent, status.progress.step) == (100, 1000)
    assert status.reward == "498.2"
    assert status.evaluation.passed is True
    assert status.model.uri == "pvc://claim/job-01234567/model/agent.pth"
    assert [m.value for m in status.metrics] == ["0.5"]


def test_stopping_early_at_the_threshold_is_all_the_work_there_was():
    word = LastWord(progress=Progress(step=300, total_steps=1000))
    status = with_last_word(LeptonTrainingJobStatus(), word, location=None, time=at(0))
    assert (status.progress.percent, status.progress.step) == (100, 300)


def test_without_a_last_word_the_last_progress_stays():
    status = LeptonTrainingJobStatus(
        progress=ProgressStatus(step=900, total_steps=1000, percent=90)
    )
    status = with_last_word(status, None, location=None, time=at(0))
    assert (status.progress.percent, status.progress.step) == (100, 900)


def test_a_program_that_never_reported_is_done_all_the_same():
    status = with_last_word(LeptonTrainingJobStatus(), None, location=None, time=at(0))
    assert (status.progress.percent, status.progress.step) == (100, None)


def test_a_model_without_storage_is_not_named():
    word = LastWord(model=SavedModel(path="x.pth", sha256="a" * 64))
    assert with_last_word(LeptonTrainingJobStatus(), word, location=None, time=at(0)).model is None


def test_the_verdict_holds_the_reward_against_the_threshold():
    assert verdict(judged(498.2, 475)) == (
        "training is complete; the evaluation's mean reward 498.2 reached the threshold 475"
    )
    assert "did not reach the threshold 475" in verdict(judged(20, 475))
    assert verdict(judged(20)).endswith("mean reward is 20")
    assert verdict(None) == "training is complete"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.2, "1s"), (59, "59s"), (60, "1m"), (150, "2m30s"), (3600, "1h"),
     (12_000, "3h20m"), (86_400, "1d"), (187_200, "2d4h")],
)  # fmt: skip
def test_durations_for_people(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [(1, "exited with code 1"), (137, "was killed by SIGKILL"), (-9, "was killed by SIGKILL"),
     (143, "was killed by SIGTERM"), (255, "exited with code 255"),
     (191, "was killed by signal 63")],
)  # fmt: skip
def test_exit_codes_for_people(code, text):
    assert exit_text(code) == text


def test_rewards_for_a_column():
    shown = [reward(value) for value in (498.2334, 21.0, -0.01234, -1234.5, 1e9, -1e300)]
    assert shown[:4] == ["498.2", "21", "-0.01234", "-1234"]
    assert all(len(text) <= 12 for text in shown)


def test_text_is_one_line_that_the_api_server_takes():
    assert one_line("a\nb\x00c\ud800d", 100) == "a b c d"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"


def steps(*told, from_zero=False, previous=None):
    """When the step last moved, after reports of these steps a second apart."""
    shown = previous
    for second, step in enumerate(told):
        said = Progress(step=step)
        shown = progress_status(said, time=at(second), previous=shown, from_zero=from_zero)
    return shown.last_step_time


def test_the_time_of_the_last_step_moves_with_the_step_alone():
    assert steps(0) is None
    assert steps(0, 0, 0) is None
    assert steps(5) == at(0)
    assert steps(0, 5, 5, 5) == at(1)
    assert steps(0, 5, 6) == at(2)


def test_a_count_that_begins_anew_within_an_attempt_is_a_step():
    assert steps(0, 5, 1, 1) == at(2)


def test_the_step_that_an_attempt_resumes_from_is_none_of_its_own():
    before = stale(ProgressStatus(step=40, last_step_time=at(-60)))
    assert steps(40, 40, previous=before) is None
    assert steps(30, 30, previous=before) is None
    assert steps(30, 31, previous=before) == at(1)
    assert steps(40, 41, previous=before) == at(1)
    assert steps(40, previous=before, from_zero=True) == at(0)
