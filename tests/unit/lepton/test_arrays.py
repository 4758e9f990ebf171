"""What scenarios do with batches turned so that the numbers of a batch lie side by side."""

from typing import Any

import numpy as np
import pytest
import torch

from lepton.environments.arrays import first_highest, inwards, outwards


@pytest.fixture(params=[np.asarray, torch.as_tensor])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("shape", [(36, 500), (127, 40), (1, 3), (5, 4, 60)])
def test_the_first_of_the_highest_is_found(kind: Any, shape: tuple[int, ...]) -> None:
    # So few different numbers that the highest is seldom alone.
    values = np.random.default_rng(0).integers(-3, 4, shape).astype(np.float32)
    found = first_highest(kind(values))
    assert type(found) is type(kind(values))
    assert found.dtype == kind(np.zeros(1, np.int64)).dtype
    assert np.array_equal(found, values.argmax(axis=0))


def test_turned_inwards_and_outwards_again_a_batch_is_as_it_was(kind: Any) -> None:
    values = kind(np.arange(24.0).reshape(4, 3, 2))
    turned = inwards(values)
    assert turned.shape == (3, 2, 4)
    assert turned[2, 1, 3] == values[3, 2, 1]
    assert np.array_equal(outwards(turned), values)
