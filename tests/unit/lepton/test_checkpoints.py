"""Checkpoints: what is not as it was written is known, set aside, and costs no more than itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from gymnasium import spaces

from lepton import Agent, Environment, InputError, Trainer
from lepton.training.checkpoint import (
    CheckpointFolder,
    CheckpointHeader,
    DamagedError,
    from_bytes,
    pack,
    to_bytes,
    unpack,
)


def packed(step: int) -> bytes:
    """A checkpoint of no particular run."""
    header = CheckpointHeader(configuration={"nan": float("nan")}, record={"step": step})
    return pack(header, {"weights": torch.arange(1000.0) + step, "betas": (0.9, None, "text")})


def make(storage: Path, max_steps: int, **arguments: Any) -> Trainer:
    environment = Environment(count=8)
    agent = Agent(environment.action_space, hyperparameters={"horizon": 16, "epochs": 1})
    settings = {"evaluation_episodes": 2, "progress": True, "checkpoint_every": 0.0, **arguments}
    return Trainer(environment, agent, max_steps=max_steps, storage=storage, **settings)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def foreign(_: bytes) -> bytes:
    return to_bytes({"weights": torch.zeros(3)})


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda data: data[:500],
    lambda data: b"",
    lambda data: b"no checkpoint",
    lambda data: flipped(data, data.index((torch.arange(1000.0) + 5).numpy().tobytes()) + 2001),
    foreign,
    lambda data: to_bytes(from_bytes(data) | {"lepton": "no JSON"}),
    lambda data: to_bytes(from_bytes(data) | {"lepton": '{"format": 3}'}),
    lambda data: to_bytes({n: v for n, v in from_bytes(data).items() if n != "sha256"}),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    for step in (1, 2, 3, 4, 5):
        folder.write(step, packed(step))
    kept = [f"checkpoint-{step:015d}.pt" for step in (3, 4, 5)]
    assert names(tmp_path) == kept
    bad = damage((tmp_path / kept[2]).read_bytes())
    (tmp_path / kept[2]).write_bytes(bad)
    data = folder.read_newest()
    assert data is not None
    header, state = unpack(data)
    assert header.record == {"step": 4}
    assert torch.equal(state["weights"], torch.arange(1000.0) + 4)
    told = capsys.readouterr().err
    assert "is damaged (" in told
    assert f"and is now named {kept[2]}.damaged; trying the one before" in told
    assert "weights_only" not in told
    assert (tmp_path / f"{kept[2]}.damaged").read_bytes() == bad


def test_a_flipped_byte_is_noticed_or_changes_nothing() -> None:
    good = packed(7)
    header, state = unpack(good)
    noticed = 0
    for place in range(0, len(good), 101):
        try:
            found, changed = unpack(flipped(good, place))
        except DamagedError:
            noticed += 1
            continue
        assert str(found) == str(header)  # NaN is not itself
        assert changed["betas"] == state["betas"]
        assert torch.equal(changed["weights"], state["weights"])
    assert noticed > 4000 / 101  # the weights alone


def test_after_damage_to_all_checkpoints_new_ones_are_kept_and_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path, 1024).train()
    folder = tmp_path / "checkpoints"
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    make(tmp_path, 256).train()
    told = capsys.readouterr().err
    assert told.count("is damaged (it can't be read)") == 3
    assert "resumed" not in told
    kept = [name for name in names(folder) if name.endswith(".pt")]
    assert kept == [f"checkpoint-{step:015d}.pt" for step in (128, 256)]
    assert make(tmp_path, 512).train().steps == 512
    assert "resumed from the checkpoint at step 256" in capsys.readouterr().err


def test_a_run_goes_on_from_the_checkpoint_before_the_damaged_one_to_the_same_end(
    tmp_path: Path,
) -> None:
    make(tmp_path / "whole", 1024).train()
    make(tmp_path / "parts", 512).train()
    newest = max((tmp_path / "parts/checkpoints").iterdir())
    newest.write_bytes(foreign(b""))
    make(tmp_path / "parts", 1024).train()
    whole, parts = (
        unpack((tmp_path / run / "checkpoints/checkpoint-000000000001024.pt").read_bytes())[1]
        for run in ("whole", "parts")
    )
    for name, tensor in whole["network"].items():
        assert torch.equal(tensor, parts["network"][name]), name


def test_nothing_is_renamed_in_the_folder_of_another_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "first", 512).train()
    newest = max((tmp_path / "first/checkpoints").iterdir())
    newest.write_bytes(b"")
    before = names(tmp_path / "first/checkpoints")
    make(tmp_path / "second", 640, resume_from=tmp_path / "first").train()
    assert "resumed from the checkpoint at step 384" in capsys.readouterr().err
    assert names(tmp_path / "first/checkpoints") == before
    with pytest.raises(InputError, match=r"is no checkpoint, or it is damaged: it can't be read"):
        make(tmp_path / "third", 640, resume_from=newest).train()


@pytest.mark.parametrize("version", [2, 4])
def test_a_checkpoint_of_another_format_is_refused_and_kept(tmp_path: Path, version: int) -> None:
    make(tmp_path, 256).train()
    path = max((tmp_path / "checkpoints").iterdir())
    state = from_bytes(path.read_bytes())
    header = json.loads(state["lepton"]) | {"format": version, "madeBy": "lepton 9", "more": 1}
    del state["sha256"]
    data = to_bytes(state | {"lepton": json.dumps(header)})
    path.write_bytes(data)
    text = f"have format {version}, made by lepton 9; this is lepton .* reads format 3: use another"
    with pytest.raises(InputError, match=text):
        make(tmp_path, 512).train()
    assert path.read_bytes() == data


class Corridor(gymnasium.Env[Any, Any]):
    action_space = spaces.Discrete(2)

    def __init__(self, length: int = 5, ends: Any = ()) -> None:
        self.length = length
        self.observation_space = spaces.Box(-1, 1, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = self.length
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self.observation_space.sample(), 1.0, self.left == 0, False, {}


def test_a_run_with_other_parameters_of_the_environment_does_not_go_on(tmp_path: Path) -> None:
    def train(**parameters: Any) -> int:
        environment = Environment(Corridor, count=4, **parameters)
        agent = Agent(environment.action_space, hyperparameters={"horizon": 8, "epochs": 1})
        settings: dict[str, Any] = {"evaluation_episodes": 1, "progress": False}
        return Trainer(environment, agent, max_steps=64, storage=tmp_path, **settings).train().steps

    train(length=5, ends=(1, 2))
    with pytest.raises(InputError, match=r"of another run \(different: environmentParameters\)"):
        train(length=6, ends=(1, 2))
    assert train(length=5, ends=[1, 2]) == 64
