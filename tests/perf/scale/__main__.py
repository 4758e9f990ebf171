"""Measures what thousands of jobs cost, on the embedded Kubernetes with nodes that kwok plays.

python tests/perf/scale [--parts alone,burst,...] [--sizes 100,1000] [--rounds 3] [--full]
"""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from figures import Report

from lepton_operator.engine.client import Client
from scale import alone, burst, newcomer, progress, restart
from steps import ROOT, StepError, kubeconfig, kubectl, python, say

PARTS = ("alone", "burst", "progress", "newcomer", "restart")
KWOK_NODES = 200


async def measure(options: argparse.Namespace, report: Report) -> None:
    """The parts in turn, each with an operator of its own."""
    client = await Client.connect(kubeconfig=str(kubeconfig()))
    try:
        if "alone" in options.parts:
            await alone.measure(client, report)
        if "burst" in options.parts:
            for size in options.sizes:
                await burst.measure(client, report, size, options.rounds if size <= 100 else 1)
        if "progress" in options.parts:
            await progress.measure(client, report, jobs=500, seconds=90, bound=15)
            if options.full:
                await progress.measure(client, report, jobs=5000, seconds=240, bound=100)
        if "newcomer" in options.parts:
            await newcomer.measure(client, report)
        if "restart" in options.parts:
            await restart.measure(client, report, 10_000 if options.full else 2_000, KWOK_NODES)
    finally:
        await client.close()


def main() -> int:
    """0 if every figure is what it should be, 1 if some are not."""

    def words(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--parts", type=words, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--sizes", type=lambda t: [int(n) for n in words(t)], default=[100, 1000],
        help="jobs at once, of the part burst",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="of bursts of 100 jobs")
    parser.add_argument(
        "--full", action="store_true",
        help="5,000 jobs with progress and a start among 10,000, which takes half an hour more",
    )  # fmt: skip
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    say("a cluster for the benchmark")
    python("tests/cluster", "up", "--nodes", str(KWOK_NODES))
    report = Report(ROOT / "build" / "bench" / "scale.jsonl")
    try:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
        asyncio.run(measure(options, report))
    finally:
        python("tests/cluster", "down")
    print(f"\n{report.table()}")
    if report.missed:
        print(f"\nmissed: {', '.join(report.missed)}", file=sys.stderr)
    return 1 if report.missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepError as error:
        sys.exit(f"make bench-scale: {error}")
