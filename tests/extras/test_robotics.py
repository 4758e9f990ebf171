"""Extra `robotics`: grid worlds of MiniGrid, and Gymnasium-Robotics on MuJoCo."""

from typing import Any

import pytest
from gymnasium import spaces

from lepton import Environment, InputError

GRID = "lepton.environments.foreign:without_text"


def test_a_grid_world_is_trained_without_its_mission_in_words(train: Any) -> None:
    train("grid-world", steps=4000)


def test_a_robot_arm_is_trained(train: Any) -> None:
    train("robot-arm", steps=4000)


def test_all_but_the_mission_is_observed() -> None:
    environment = Environment(GRID, environment="minigrid:MiniGrid-DoorKey-5x5-v0")
    assert isinstance(environment.observation_space, spaces.Dict)
    assert set(environment.observation_space) == {"direction", "image"}


def test_an_environment_without_parts_has_no_text_to_leave_out() -> None:
    with pytest.raises(InputError, match="CartPole-v1 observes Box"):
        Environment(GRID, environment="CartPole-v1")
