"""What a finished run leaves in the status: its last figures, its evaluation, its model."""

from datetime import datetime

from lepton.spec.report import Evaluation, LastWord, Progress
from lepton_operator.api.status import (
    EvaluationStatus,
    LeptonTrainingJobStatus,
    ModelStatus,
    ProgressStatus,
)
from lepton_operator.reconcile import progress
from lepton_operator.reconcile.text import number, one_line


def with_last_word(
    status: LeptonTrainingJobStatus,
    word: LastWord | None,
    *,
    location: str | None,
    time: datetime,
) -> LeptonTrainingJobStatus:
    """The status of a run that completed, with what its first process said at the end.

    `location` is where the run's files lie, such as `pvc://claim/folder`; without it a model has
    no place that outlives the run, and is not named.
    """
    said = word.progress if word is not None else None
    evaluation = _evaluation(word.evaluation) if word is not None and word.evaluation else None
    evaluation = evaluation or status.evaluation
    last = said or _as_report(status.progress)
    shown = (
        progress.progress_status(last, time=time, previous=status.progress, complete=True)
        if last is not None
        else ProgressStatus(percent=100, summary="100%", updated_time=time)
    )
    values = said.metrics if said is not None else {}
    return status.model_copy(
        update={
            "progress": shown,
            "metrics": progress.metrics(values) or status.metrics,
            "reward": progress.latest_reward(evaluation, values) or status.reward,
            "evaluation": evaluation,
            "model": _model(word, location) or status.model,
        }
    )


def verdict(evaluation: Evaluation | None) -> str:
    """How the reward stands to the threshold, in one sentence."""
    if evaluation is None:
        return "training is complete"
    mean = number(evaluation.reward_mean)
    if evaluation.threshold is None:
        return f"training is complete; the evaluation's mean reward is {mean}"
    reached = "reached" if evaluation.passed else "did not reach"
    return (
        f"training is complete; the evaluation's mean reward {mean} {reached}"
        f" the threshold {number(evaluation.threshold)}"
    )


def _evaluation(said: Evaluation) -> EvaluationStatus:
    return EvaluationStatus.model_validate(said.model_dump())


def _model(word: LastWord | None, location: str | None) -> ModelStatus | None:
    if word is None or word.model is None or location is None:
        return None
    path = one_line(word.model.path, 1024).lstrip("/")
    return ModelStatus(
        uri=f"{location}/{path}",
        sha256=word.model.sha256,
        formats=[one_line(name, 32) for name in word.model.formats],
    )


def _as_report(shown: ProgressStatus | None) -> Progress | None:
    if shown is None:
        return None
    return Progress(
        step=shown.step or 0,
        total_steps=shown.total_steps or None,
        episodes=shown.episodes,
        message=shown.message,
    )
