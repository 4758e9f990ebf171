"""Measures all figures of the training library, or those of some parts.

python tests/perf/library [--parts cartpole,learning,...] [--seeds 5] [--jobs 2]
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from figures import Figure, Report, at_least, at_most, spread

from lepton.environments.scenarios import SCENARIOS
from library import cartpole, gpu, learning, ranks, stepping
from library.runs import ROOT, run

PARTS = ("import", "cartpole", "stepping", "ranks", "gpu", "learning", "scenarios")
CARTPOLE_SEEDS = 10


def measure_import(report: Report) -> None:
    """`import lepton` in a new process, less what Python itself takes."""

    def seconds(program: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        return time.perf_counter() - begin

    differences = []
    for _ in range(7):
        bare = seconds("pass")
        with_lepton = "import sys, lepton; assert 'torch' not in sys.modules"
        differences.append(seconds(with_lepton) - bare)
    target, met = at_most(statistics.median(differences), 0.2)
    detail = f"{spread(differences)}, without torch"
    report.add(Figure("import lepton", statistics.median(differences), "s", target, met, detail))


def measure_stepping(report: Report) -> None:
    """Every environment of lepton's own."""
    for name in SCENARIOS:
        speed = run("stepping.py", name=name)["steps_per_second"]
        bound = 5_000_000 if name in stepping.SMALL else 1_000_000
        target, met = at_least(speed, bound)
        detail = f"batch of {stepping.BATCH:,}, one core"
        report.add(Figure(f"stepping {name}", speed, "steps/s", target, met, detail))


def main() -> int:
    """0 if every figure is what it should be, 1 if some are not."""
    parser = argparse.ArgumentParser(prog="make bench-library", description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=5, help="of learning and scenarios")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once, a core each")
    parser.add_argument("--only", default="", help="scenarios whose names hold this")
    options = parser.parse_args()
    parts = options.parts.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    report = Report(ROOT / "build" / "bench" / "library.jsonl")
    if "import" in parts:
        measure_import(report)
    if "cartpole" in parts:
        cartpole.measure(report, CARTPOLE_SEEDS)
    if "stepping" in parts:
        measure_stepping(report)
    if "ranks" in parts:
        ranks.measure(report, rounds=3)
    if "gpu" in parts:
        gpu.measure(report, rounds=3)
    if "learning" in parts:
        learning.measure_tasks(report, options.seeds, options.jobs)
    if "scenarios" in parts:
        learning.measure_scenarios(report, options.seeds, options.jobs, options.only)
    print(f"\n{report.table()}")
    if report.missed:
        print(f"\nmissed: {', '.join(report.missed)}", file=sys.stderr)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
