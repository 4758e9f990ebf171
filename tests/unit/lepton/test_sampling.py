"""Random quantities from uniform numbers."""

import numpy as np
import pytest

from lepton.environments.sampling import poisson

EVEN = (np.arange(200_000, dtype=np.float32) + 0.5) / 200_000
"""Uniform numbers without chance: quantiles come out exactly."""


@pytest.mark.parametrize("mean", [0.05, 1.0, 4.3])
def test_poisson_counts_have_the_mean_and_the_variance_asked_for(mean: float) -> None:
    counts = poisson(EVEN, np.full_like(EVEN, mean), most=int(mean + 5 * mean**0.5 + 2))
    assert counts.mean() == pytest.approx(mean, rel=1e-3)
    assert counts.var() == pytest.approx(mean, rel=5e-3)
    assert (counts == 0).mean() == pytest.approx(np.exp(-mean), rel=1e-3)


def test_poisson_counts_stop_at_the_most_that_was_asked_for() -> None:
    assert poisson(EVEN, np.full_like(EVEN, 4.0), most=3).max() == 3
