"""The operator's own Prometheus metrics. Gauges are made at scrape time from the stores."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lepton_operator.api.job import TrainingJob

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters and histograms that the operator's parts keep."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "lepton_operator_api_request_seconds",
            "Requests to the API server by verb, resource and status code.",
            ("verb", "resource", "code"),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self._reconciles = Histogram(
            "lepton_operator_reconcile_seconds",
            "Passes over one job, by result.",
            ("result",),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.attempts_failed = Counter(
            "lepton_attempts_failed",
            "Attempts that failed, by class.",
            ("failure_class",),
            registry=self.registry,
        )

    def on_request(self, verb: str, resource: str, code: int, seconds: float) -> None:
        """Note a request."""
        self._requests.labels(verb, resource, str(code)).observe(seconds)

    def on_reconcile(self, ok: bool, seconds: float) -> None:
        """Note a pass over a job."""
        self._reconciles.labels("ok" if ok else "error").observe(seconds)


class StateCollector(Collector):
    """Gauges of the present: jobs by phase, progress of each, queue, leadership, tasks."""

    def __init__(
        self,
        *,
        jobs: Callable[[], Iterable[TrainingJob]],
        queue_length: Callable[[], int],
        is_leader: Callable[[], bool],
        unsynced: Callable[[], list[str]],
        tasks: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._queue_length = queue_length
        self._is_leader = is_leader
        self._unsynced = unsynced
        self._tasks = tasks

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges as of now."""
        leading = self._is_leader()
        yield GaugeMetricFamily(
            "lepton_operator_leader", "1 while this replica leads.", value=float(leading)
        )
        yield GaugeMetricFamily(
            "lepton_operator_queue_length", "Jobs waiting for a pass.", value=self._queue_length()
        )
        yield GaugeMetricFamily(
            "lepton_operator_caches_unsynced",
            "Caches that have not been filled yet.",
            value=len(self._unsynced()),
        )
        yield GaugeMetricFamily(
            "lepton_operator_tasks",
            "Tasks of the event loop; more and more of them are a leak.",
            value=self._tasks(),
        )
        if not leading:
            # Both replicas know the jobs; told twice, sums over replicas would be doubled.
            return
        phases: Tally[str] = Tally()
        progress = GaugeMetricFamily(
            "lepton_job_progress_ratio",
            "Share of a running job's work that is done.",
            labels=("namespace", "name"),
        )
        for job in self._jobs():
            status = job.status
            phases[str(status.phase or "Pending")] += 1
            percent = status.progress.percent if status.progress else None
            if percent is not None and status.completion_time is None:
                progress.add_metric((job.namespace, job.name), percent / 100)
        family = GaugeMetricFamily("lepton_jobs", "Jobs by phase.", labels=("phase",))
        for phase, count in sorted(phases.items()):
            family.add_metric((phase,), count)
        yield family
        yield progress
