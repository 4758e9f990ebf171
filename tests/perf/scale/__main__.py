"""Measures what thousands of jobs cost, on the embedded Kubernetes with nodes that kwok plays.

python tests/perf/scale [--parts alone,burst,...] [--sizes 100,1000] [--rounds 3]
    [--among 100,1000] [--full]
"""

import argparse
import asyncio
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from figures import Report

from lepton_operator.engine.client import Client
from scale import alone, burst, newcomer, progress, restart
from steps import EXISTING, ROOT, StepError, kubeconfig, kubectl, python, say

PARTS = ("alone", "burst", "progress", "newcomer", "restart")
"""In this order: what the last one writes is left to go with the cluster."""
KWOK_NODES = 200


async def measure(options: argparse.Namespace, report: Report) -> list[str]:
    """The parts in turn, each with an operator of its own; returns those that could not be
    measured. They keep nothing from the others."""
    failed = []
    client = await Client.connect(kubeconfig=str(kubeconfig()))
    try:
        for part in (part for part in PARTS if part in options.parts):
            say(part)
            try:
                await measure_part(part, client, options, report)
            except Exception:
                traceback.print_exc()
                failed.append(part)
    finally:
        await client.close()
    return failed


async def measure_part(
    part: str, client: Client, options: argparse.Namespace, report: Report
) -> None:
    """One of PARTS."""
    match part:
        case "alone":
            await alone.measure(client, report)
        case "burst":
            for size in options.sizes:
                await burst.measure(client, report, size, options.rounds if size <= 100 else 1)
        case "progress":
            await progress.measure(client, report, jobs=500, seconds=90, bound=15)
            if options.full:
                await progress.measure(client, report, jobs=5000, seconds=240, bound=100)
        case "newcomer":
            await newcomer.measure(client, report)
        case "restart":
            await restart.measure(client, report, options.among, KWOK_NODES)


def main() -> int:
    """0 if every figure is what it should be, 1 if some are not."""

    def words(text: str) -> list[str]:
        return text.split(",")

    def numbers(text: str) -> list[int]:
        return [int(number) for number in words(text)]

    parser = argparse.ArgumentParser(prog="make bench-scale", description=__doc__)
    parser.add_argument("--parts", type=words, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--sizes", type=numbers, default=[100, 1000], help="jobs at once, of the part burst"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of bursts of 100 jobs")
    parser.add_argument(
        "--among", type=numbers, help="jobs that the operator starts among, of the part restart"
    )
    parser.add_argument(
        "--full", action="store_true",
        help="5,000 jobs with progress and starts among up to 10,000, half an hour more",
    )  # fmt: skip
    options = parser.parse_args()
    options.among = options.among or ([100, 1000, 5000, 10_000] if options.full else [100, 1000])
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if EXISTING:
        parser.error("it measures on a cluster of its own; leave CLUSTER=existing out")
    report = Report(ROOT / "build" / "bench" / "scale.jsonl")
    try:
        say("a cluster for the benchmark")
        python("tests/cluster", "up", "--nodes", str(KWOK_NODES))
        try:
            kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
            failed = asyncio.run(measure(options, report))
        finally:
            python("tests/cluster", "down")
    finally:
        print(f"\n{report.table()}")
    if report.missed:
        print(f"\nmissed: {', '.join(report.missed)}", file=sys.stderr)
    if failed:
        print(f"\nnot measured to the end, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if report.missed or failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepError as error:
        sys.exit(f"make bench-scale: {error}")
