"""`status.progress`, `status.metrics` and `status.reward`, made of what a pod says.

A pod may lie or be of another version; what comes out always fits the CRD. Nothing here knows
Kubernetes, so that a run on a laptop shows the same figures.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from lepton.spec.report import MAX_METRICS, Progress
from lepton_operator.api.status import LARGEST_COUNT, EvaluationStatus, Metric, ProgressStatus
from lepton_operator.reconcile.text import duration, number, one_line, reward

REWARD_METRIC = "episode_reward_mean"
LONGEST_REMAINING = 100 * 365 * 86_400.0
"""Beyond a hundred years an estimate is none."""

FASTEST = 1e15
"""Steps a second; no machine is faster."""


def progress_status(
    progress: Progress,
    *,
    time: datetime | None,
    trend: str | None = None,
    previous: ProgressStatus | None = None,
    complete: bool = False,
    from_zero: bool = False,
) -> ProgressStatus:
    """What the job's status shows of a report. With `previous`, its time stays when nothing else
    moved; with `complete`, all the work is done; with `from_zero`, every attempt begins at step 0,
    so that any other step is one of its own."""
    fraction = 1.0 if complete else progress.fraction
    left = 0.0 if complete else remaining_seconds(progress)
    shown = ProgressStatus(
        percent=None if fraction is None else int(fraction * 100),
        summary=summary(progress, fraction),
        step=_count(progress.step),
        total_steps=_count(progress.total_steps),
        episodes=_count(progress.episodes),
        steps_per_second=_speed(progress.steps_per_second),
        remaining_seconds=None if left is None or complete else math.ceil(left),
        remaining=None if left is None or complete else duration(left),
        trend=one_line(trend, 16) if trend else previous.trend if previous else None,
        message=one_line(progress.message, 1024) if progress.message else None,
        updated_time=time,
        last_step_time=_last_step_time(progress, time, previous, from_zero),
    )
    if previous is not None and previous == shown.model_copy(
        update={"updated_time": previous.updated_time}
    ):
        return previous
    return shown


def _last_step_time(
    progress: Progress, time: datetime | None, previous: ProgressStatus | None, from_zero: bool
) -> datetime | None:
    """When the step last moved; None until it has in this attempt.

    A resumed attempt first tells the step that it resumed from, which is none of its own.
    """
    before = previous.step or 0 if previous is not None else 0
    last = previous.last_step_time if previous is not None else None
    step = _count(progress.step) or 0
    moved = step != before if last is not None else step > (0 if from_zero else before)
    return time if moved else last


def stale(progress: ProgressStatus | None) -> ProgressStatus | None:
    """Progress of an attempt that ended or rests: where it stood, without speed or estimate."""
    if progress is None:
        return None
    return progress.model_copy(
        update={
            "steps_per_second": None,
            "remaining_seconds": None,
            "remaining": None,
            "last_step_time": None,
        }
    )


def remaining_seconds(progress: Progress) -> float | None:
    """Estimated time to the end, at the present speed; None when nothing is known of it.

    Episodes are counted in steps, by their mean length so far.
    """
    speed = progress.steps_per_second
    if not speed or not math.isfinite(speed):
        return None
    estimates = []
    if progress.total_steps is not None:
        estimates.append((progress.total_steps - progress.step) / speed)
    if progress.total_episodes is not None and progress.episodes and progress.step:
        length = progress.step / progress.episodes
        estimates.append((progress.total_episodes - progress.episodes) * length / speed)
    # Training ends at whichever limit comes first.
    left = max(0.0, min(estimates)) if estimates else None
    return left if left is not None and left <= LONGEST_REMAINING else None


def summary(progress: Progress, fraction: float | None) -> str | None:
    """`42%`, or a count where no total is known."""
    if fraction is not None:
        return f"{int(fraction * 100)}%"
    return f"{min(progress.step, LARGEST_COUNT):,} steps" if progress.step else None


def metrics(values: Mapping[str, float | None]) -> list[Metric]:
    """The first finite values, as text."""
    found: dict[str, Metric] = {}
    for name, value in values.items():
        if value is None or not math.isfinite(value) or len(found) == MAX_METRICS:
            continue
        plain = one_line(name, 128)
        if plain and plain not in found:
            found[plain] = Metric(name=plain, value=number(value))
    return list(found.values())


def latest_reward(
    evaluation: EvaluationStatus | None, values: Mapping[str, float | None]
) -> str | None:
    """What the column REWARD shows."""
    if evaluation is not None:
        return reward(evaluation.reward_mean)
    value = values.get(REWARD_METRIC)
    return reward(value) if value is not None and math.isfinite(value) else None


def _count(value: int | None) -> int | None:
    return None if value is None else min(value, LARGEST_COUNT)


def _speed(value: float | None) -> float | None:
    """Three significant digits: more would make every reading a change."""
    if value is None or not value <= FASTEST:
        return None
    return float(f"{value:.3g}")
