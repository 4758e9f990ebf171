"""Extra `agriculture`: the climate of a greenhouse in which lettuce grows."""

from typing import Any


def test_a_greenhouse_is_trained(train: Any) -> None:
    # A season is 1920 steps of half an hour.
    train("greenhouse", steps=4000, count=2)
