"""Spaces: flat observations as Gymnasium flattens them, and spaces as JSON."""

import json
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from lepton import InputError
from lepton.environments.spaces import batch_flatten, flat_size, space_from_json, space_to_json

SPACES: list[spaces.Space[Any]] = [
    spaces.Box(-1, 1, (3,)),
    spaces.Box(0, 255, (2, 3, 1), np.uint8),
    spaces.Box(np.array([-np.inf, 0.0]), np.array([1.5, np.inf]), dtype=np.float64),
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[1, 0], [0, 5]]),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 2]),
    spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2, 2))]),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple([spaces.MultiBinary(2)])}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_batch_is_flattened_as_gymnasium_flattens_one(space: spaces.Space[Any]) -> None:
    space.seed(0)
    samples = [space.sample() for _ in range(5)]
    batch = concatenate(space, samples, create_empty_array(space, 5))
    flat = batch_flatten(space)(batch)
    assert flat.dtype == np.float32
    assert flat.shape == (5, flat_size(space))
    for row, sample in zip(flat, samples, strict=True):
        assert np.array_equal(row, spaces.flatten(space, sample).astype(np.float32))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_survives_json(space: spaces.Space[Any]) -> None:
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space


def test_spaces_without_a_fixed_size_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="Text can't be learned from; what can: Box, Discrete"):
        flat_size(spaces.Dict({"words": spaces.Text(8)}))
