"""Figures of a benchmark: one JSON object each, and a table for people."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number, and what it should be."""

    name: str
    value: float
    unit: str
    target: str = ""
    """Such as `>= 8`; "" for figures that stand for themselves."""
    met: bool | None = None
    detail: str = ""
    """Where the number comes from: medians of what, side by side with what."""


def at_least(value: float, bound: float) -> tuple[str, bool]:
    """Target and verdict, for a figure that should be large."""
    return f">= {bound:,g}", value >= bound


def at_most(value: float, bound: float) -> tuple[str, bool]:
    """Target and verdict, for a figure that should be small."""
    return f"<= {bound:,g}", value <= bound


class Report:
    """Shows figures as they come, and keeps them in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._figures: list[Figure] = []
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, figure: Figure) -> None:
        """Append the figure to the file and say it."""
        self._figures.append(figure)
        record = asdict(figure) | {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(_row(figure), flush=True)

    def table(self) -> str:
        """All figures of this run as a Markdown table."""
        head = "| figure | value | target | | detail |\n|---|---|---|---|---|"
        return "\n".join([head, *map(_row, self._figures)])

    @property
    def missed(self) -> list[str]:
        """Names of figures that are not what they should be."""
        return [figure.name for figure in self._figures if figure.met is False]


def _row(figure: Figure) -> str:
    mark = {True: "met", False: "MISSED", None: ""}[figure.met]
    number = f"{figure.value:,.0f}" if abs(figure.value) >= 1000 else f"{figure.value:.3g}"
    return (
        f"| {figure.name} | {number} {figure.unit} | {figure.target} | {mark} | {figure.detail} |"
    )


def spread(values: Sequence[float]) -> str:
    """`median 3.1 (2.9-3.4) of 5`."""
    low, high = min(values), max(values)
    return f"median {statistics.median(values):.3g} ({low:.3g} to {high:.3g}) of {len(values)}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
