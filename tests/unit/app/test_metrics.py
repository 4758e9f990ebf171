"""Gauges are made at scrape time, and told by the leader alone."""

from typing import Any

from prometheus_client import generate_latest

from lepton_operator.api.job import TrainingJob
from lepton_operator.app.metrics import Metrics, StateCollector


def job(name: str, **status: Any) -> TrainingJob:
    """A training job with this status."""
    metadata = {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"}
    return TrainingJob.from_object({"metadata": metadata, "spec": {}, "status": status})


def scrape(*jobs: TrainingJob, leading: bool) -> str:
    """What Prometheus would read."""
    metrics = Metrics()
    metrics.registry.register(
        StateCollector(
            jobs=lambda: jobs,
            queue_length=lambda: 2,
            is_leader=lambda: leading,
            unsynced=lambda: ["pods"],
            tasks=lambda: 30,
        )
    )
    return generate_latest(metrics.registry).decode()


JOBS = (
    job("a", phase="Running", progress={"percent": 25}),
    job("b", phase="Running"),
    job("c", phase="Complete", progress={"percent": 100}, completionTime="2026-01-01T00:00:00Z"),
)


def test_the_leader_tells_jobs_by_phase_and_the_progress_of_those_that_run():
    text = scrape(*JOBS, leading=True)
    assert 'lepton_jobs{phase="Running"} 2.0' in text
    assert 'lepton_jobs{phase="Complete"} 1.0' in text
    assert 'lepton_job_progress_ratio{name="a",namespace="default"} 0.25' in text
    assert 'name="c"' not in text
    assert "lepton_operator_leader 1.0" in text


def test_the_standby_tells_of_itself_only_so_that_sums_count_each_job_once():
    text = scrape(*JOBS, leading=False)
    assert "lepton_jobs" not in text
    assert "lepton_operator_leader 0.0" in text
    assert "lepton_operator_queue_length 2.0" in text
    assert "lepton_operator_caches_unsynced 1.0" in text
    assert "lepton_operator_tasks 30.0" in text
