"""Markets for the portfolio scenario: prices made up or from a file, and features of them."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lepton.environments.noise import uniform
from lepton.environments.sampling import normal

TRAIN_SHARE = 0.7
"""Of the periods, from the first on; the rest is for testing."""
HALF_LIVES = (4.0, 13.0)
"""Periods after which a return counts half in the averages that an agent observes."""
FEATURES = len(HALF_LIVES) + 1
"""Observed numbers for an asset, beside the share that is held of it."""
FEATURE_LIMIT = 8.0
MIN_PERIODS = 20
"""Fewer tell nothing about the spread of returns, which the features are scaled by."""

ASSETS = ("stocks", "bonds", "commodities")
WEEKS = 52_000
# Regimes, in this order: expansion, inflation, crisis.
SWITCHING = (
    (1 - 1 / 80, 0.6 / 80, 0.4 / 80),
    (0.6 / 40, 1 - 1 / 40, 0.4 / 40),
    (0.8 / 20, 0.2 / 20, 1 - 1 / 20),
)
"""Probability of each regime next week, by the regime now; they last 80, 40 and 20 weeks."""
DRIFT = ((0.17, 0.01, 0.02), (-0.06, -0.07, 0.25), (-0.40, 0.12, -0.30))
"""Mean logarithmic return over that of cash per year, by regime and asset."""
VOLATILITY = ((0.11, 0.05, 0.14), (0.16, 0.08, 0.24), (0.30, 0.09, 0.32))
"""Standard deviation of logarithmic returns per year, by regime and asset."""
CORRELATION = (
    ((1.0, 0.1, 0.1), (0.1, 1.0, 0.0), (0.1, 0.0, 1.0)),
    ((1.0, 0.4, 0.0), (0.4, 1.0, -0.2), (0.0, -0.2, 1.0)),
    ((1.0, -0.4, 0.5), (-0.4, 1.0, -0.3), (0.5, -0.3, 1.0)),
)
WEEKS_PER_YEAR = 52


@dataclass(frozen=True, eq=False)
class Market:
    """T periods of A assets."""

    assets: tuple[str, ...]
    returns: NDArray[np.float64]
    """Logarithmic, (T, A)."""
    features: NDArray[np.float32]
    """What was known before each period and after the last, (T + 1, A * FEATURES)."""
    train: int
    """The first period that is for testing."""


@cache
def made_up_market() -> Market:
    """A thousand years of weeks, always the same, by the regime-switching model above."""
    seeds = np.arange(WEEKS, dtype=np.int64)
    numbers = uniform(seeds, np.zeros(WEEKS, np.int64), 1 + 2 * len(ASSETS)).astype(np.float64)
    shocks = normal(numbers[:, 1::2], numbers[:, 2::2])
    regimes = np.array(_regimes(numbers[:, 0].tolist()))
    spreads = np.array(VOLATILITY) / WEEKS_PER_YEAR**0.5
    mixing = np.linalg.cholesky(np.array(CORRELATION)) * spreads[:, :, None]
    returns = np.array(DRIFT)[regimes] / WEEKS_PER_YEAR
    returns = returns + np.einsum("tij,tj->ti", mixing[regimes], shocks)
    return _market(ASSETS, returns)


def _regimes(numbers: Sequence[float]) -> list[int]:
    regime, regimes = 0, []
    for number in numbers:
        stay_or_first, second, _ = np.cumsum(SWITCHING[regime]).tolist()
        regime = 0 if number < stay_or_first else 1 if number < second else 2
        regimes.append(regime)
    return regimes


def read_market(path: str) -> Market:
    """The market in a CSV file: a line of asset names, then a line of prices for each period.

    Raises ValueError when the file is missing or holds anything else.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"prices: there is no file {path} (looked for from {Path.cwd()})")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        rows = [(reader.line_num, row) for row in reader if row]
    if not rows:
        raise ValueError(f"prices: {path} is empty; its first line must name the assets")
    names = tuple(name.strip() for name in rows[0][1])
    if len(set(names)) < len(names) or "" in names or any(_is_number(n) for n in names):
        raise ValueError(
            f"prices: the first line of {path} must name each asset, and differently; it holds "
            f"{', '.join(names)}"
        )
    prices = [_prices(path, line, names, row) for line, row in rows[1:]]
    if len(prices) <= MIN_PERIODS:
        raise ValueError(
            f"prices: {path} has {len(prices)} rows of prices, and needs {MIN_PERIODS + 1} at least"
        )
    return _market(names, np.diff(np.log(np.array(prices)), axis=0))


def _prices(path: str, line: int, names: tuple[str, ...], row: list[str]) -> list[float]:
    if len(row) != len(names):
        raise ValueError(
            f"prices: line {line} of {path} has {len(row)} values for {len(names)} assets"
        )
    for name, text in zip(names, row, strict=True):
        if not _is_number(text):
            raise ValueError(
                f"prices: line {line} of {path}: {text!r} in column {name} is not a number; every "
                "column must hold an asset's prices"
            )
        if float(text) <= 0:
            raise ValueError(
                f"prices: line {line} of {path}: the price {text} of {name} is not above 0"
            )
    return [float(text) for text in row]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _market(assets: tuple[str, ...], returns: NDArray[np.float64]) -> Market:
    train = int(TRAIN_SHARE * len(returns))
    return Market(assets, returns, _features(returns, train), train)


def _features(returns: NDArray[np.float64], train: int) -> NDArray[np.float32]:
    """Averages of past returns, in standard deviations of that average if returns were
    independent, and the recent spread of returns as a logarithm; scaled by what the training part
    shows."""
    mean, spread = returns[:train].mean(axis=0), returns[:train].std(axis=0)
    # An asset that never moves, such as cash in a file, has no scale of its own.
    scaled = (returns - mean) / np.where(spread > 0, spread, 1.0)
    parts = [_average(scaled, h, 0.0) * _independence(h) for h in HALF_LIVES]
    parts.append(0.5 * np.log(_average(scaled**2, HALF_LIVES[0], 1.0) + 1e-4))
    features: NDArray[np.float64] = np.concatenate(parts, axis=1)
    return features.clip(-FEATURE_LIMIT, FEATURE_LIMIT).astype(np.float32)


def _weights(half_life: float) -> NDArray[np.float64]:
    weights = 0.5 ** (np.arange(round(8 * half_life)) / half_life)
    scaled: NDArray[np.float64] = weights / weights.sum()
    return scaled


def _independence(half_life: float) -> float:
    return float((_weights(half_life) ** 2).sum() ** -0.5)


def _average(values: NDArray[np.float64], half_life: float, before: float) -> NDArray[np.float64]:
    """Row t is the weighted average of the rows before t, (T + 1, A); those before the first
    count as `before`."""
    weights = _weights(half_life)
    padded = np.concatenate([np.full((len(weights), values.shape[1]), before), values])
    columns = [np.convolve(column, weights, mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)
