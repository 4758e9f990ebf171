"""Progress in Prometheus' text format, made when it is asked for."""

import re
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lepton.spec.report import Progress


class _ProgressCollector(Collector):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def collect(self) -> Iterator[Metric]:
        progress = self._progress
        known = {
            "lepton_step": ("Steps so far, over all workers.", progress.step),
            "lepton_total_steps": ("Steps at which training ends.", progress.total_steps),
            "lepton_episodes": ("Finished episodes, over all workers.", progress.episodes),
            "lepton_steps_per_second": ("Recent speed.", progress.steps_per_second),
            "lepton_progress_ratio": ("Share of the work that is done.", progress.fraction),
        }
        for name, (text, value) in known.items():
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)
        family = GaugeMetricFamily(
            "lepton_training_metric", "Latest value of a training metric.", labels=["name"]
        )
        for name, value in progress.metrics.items():
            label = re.sub(r"[^\w./:-]", "_", name)
            family.add_metric([label], float("nan") if value is None else value)
        yield family


def exposition(progress: Progress) -> str:
    """The progress as text for Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_ProgressCollector(progress))
    return generate_latest(registry).decode()
