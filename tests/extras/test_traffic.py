"""Extra `traffic`: traffic lights of sumo-rl, simulated by SUMO."""

import os
from pathlib import Path
from typing import Any

import pytest

from lepton import Environment, InputError

TRAFFIC = "lepton.environments.foreign:traffic"


def test_a_traffic_light_is_trained(train: Any) -> None:
    train("traffic", steps=2000)


def test_sumo_is_found_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import sumo

    monkeypatch.delenv("SUMO_HOME", raising=False)
    Environment(TRAFFIC)
    assert Path(os.environ["SUMO_HOME"]) == Path(sumo.__file__).parent


def test_own_networks_are_absolute_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    import sumo_rl

    folder = Path(sumo_rl.__file__).parent / "nets" / "2way-single-intersection"
    named = Environment(TRAFFIC, network=folder.name)
    own = Environment(
        TRAFFIC,
        net_file=str(folder / "single-intersection.net.xml"),
        route_file=str(folder / "single-intersection-vhvh.rou.xml"),
    )
    assert named.observation_space == own.observation_space
    assert named.observation_space != Environment(TRAFFIC).observation_space


def test_an_unknown_network_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match="network crossing is unknown to sumo-rl; it has 2way-s"):
        Environment(TRAFFIC, network="crossing")
