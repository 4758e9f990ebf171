"""CartPole on one thread: steps a second in training, and seconds until it is solved."""

import statistics
from typing import Any

from figures import Figure, Report, at_least, at_most, spread

from library.runs import run

PEERS = ("lepton_ppo", "stable_baselines3_ppo", "single_file_ppo")
STEPS = 100_000


def measure(report: Report, seeds: int) -> None:
    """The peers in turn, seed by seed, so that a drift of the machine's speed meets all alike."""
    results: dict[str, list[dict[str, Any]]] = {peer: [] for peer in PEERS}
    for seed in range(seeds):
        for peer in PEERS:
            results[peer].append(run(f"peers/{peer}.py", seed=seed, steps=STEPS))
    ours, sb3, single = (results[peer] for peer in PEERS)
    for peer in PEERS:
        speeds = [one["steps_per_second"] for one in results[peer]]
        report.add(
            Figure(f"cartpole {peer}", statistics.median(speeds), "steps/s", detail=spread(speeds))
        )
    for name, theirs, bound in (
        ("Stable-Baselines3", sb3, 8.0),
        ("a single file", single, 5.0),
    ):
        ratios = ratios_of(ours, theirs, "steps_per_second")
        target, met = at_least(statistics.median(ratios), bound)
        report.add(
            Figure(
                f"cartpole speed against {name}",
                statistics.median(ratios),
                "times",
                target,
                met,
                f"seed by seed, {spread(ratios)}",
            )
        )
    solved = [one["seconds_to_solve"] for one in ours]
    failed = sum(seconds is None for seconds in solved)
    target, met = at_most(failed, 0)
    report.add(Figure("cartpole seeds that fail", failed, f"of {seeds}", target, met))
    for peer in PEERS:
        seconds = [s for one in results[peer] if (s := one["seconds_to_solve"]) is not None]
        if seconds:
            never = len(results[peer]) - len(seconds)
            detail = spread(seconds) + (f"; {never} never" if never else "")
            report.add(
                Figure(f"cartpole {peer} to 475", statistics.median(seconds), "s", detail=detail)
            )
    both = ratios_of(ours, sb3, "seconds_to_solve")
    if both:
        target, met = at_most(statistics.median(both), 0.2)
        report.add(
            Figure(
                "cartpole time to 475 against Stable-Baselines3",
                statistics.median(both),
                "times",
                target,
                met,
                f"seed by seed, {spread(both)}",
            )
        )


def ratios_of(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], name: str) -> list[float]:
    """Ours by theirs, for the seeds that have both."""
    pairs = [(one[name], other[name]) for one, other in zip(ours, theirs, strict=True)]
    return [a / b for a, b in pairs if a is not None and b is not None]
