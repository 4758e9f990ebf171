"""The benchmark's part for GPUs, for which torch's CPU stands in at a tiny size."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lepton.training.device_collector import DeviceCollector

PERF = Path(__file__).resolve().parents[2] / "perf"


@pytest.fixture
def perf(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The part's module, and that of figures, on a machine without a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.syspath_prepend(PERF)
    import figures
    from library import gpu

    yield gpu, figures
    for name in ("figures", "library", "library.gpu"):
        sys.modules.pop(name, None)


pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting.*")


def test_every_environment_gets_a_figure_of_what_was_trained_on_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], perf: Any
) -> None:
    gpu, figures = perf
    trained = []
    collect = DeviceCollector.collect

    def watched(self: DeviceCollector, *arguments: Any) -> Any:
        trained.append(self._environments.num_envs)
        return collect(self, *arguments)

    monkeypatch.setattr(DeviceCollector, "collect", watched)
    report = figures.Report(tmp_path / "figures.jsonl")
    size = gpu.Size(environments=4, updates=2, warm_up=1)
    gpu.measure(report, rounds=2, device="cpu", size=size)
    rows = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == [f"training {n} on a GPU" for n in gpu.NAMES]
    assert trained == [4] * 3 * 2 * len(gpu.NAMES)
    for row in rows:
        assert row["value"] > 0
        assert float(row["target"].removeprefix(">= ")) == 1_000_000
        assert row["met"] == (row["value"] >= 1_000_000)
        assert "torch's cpu, PPO in 4 environments; median" in row["detail"]
    assert capsys.readouterr().out.startswith("gpu: torch's cpu\n")


def test_the_speed_is_that_of_the_updates_after_the_first_ones(
    monkeypatch: pytest.MonkeyPatch, perf: Any
) -> None:
    gpu, _ = perf

    class Clock:
        """The first look and each update's end, of which the first two took long."""

        times = iter([0.0, 100.0, 200.0, 200.5, 201.0])

        def perf_counter(self) -> float:
            return next(self.times)

    monkeypatch.setattr(gpu, "time", Clock())
    speed = gpu.steps_per_second("CartPole", "cpu", gpu.Size(3, updates=2, warm_up=2), seed=0)
    assert speed == pytest.approx(2 * 3 * 32 / 1.0)


def test_without_a_gpu_it_says_so_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], perf: Any
) -> None:
    gpu, figures = perf
    report = figures.Report(tmp_path / "figures.jsonl")
    gpu.measure(report, rounds=3)
    assert "torch finds no CUDA device here" in capsys.readouterr().out
    assert report.missed == []
    assert not (tmp_path / "figures.jsonl").exists()
