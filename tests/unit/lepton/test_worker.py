"""`lepton worker`: from its environment to its last word and exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton import Agent
from lepton.agents.files import load_model


def test_a_worker_serves_before_it_trains_reports_and_leaves_model_and_last_word(
    tmp_path: Path,
    workers: Callable[..., Any],
    last_word: Callable[[int], Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
) -> None:
    run = {
        "agent": {"rewardThreshold": 100},
        "trainer": {"maxSteps": 50_000},
        "evaluation": {"episodes": 8, "everySteps": 2000},
    }
    storage = tmp_path / "storage"
    (process,) = workers(run, LEPTON_STORAGE=str(storage), port=port)
    status, body = eventually(lambda: fetch(port, "/progress"))
    assert (status, json.loads(body)) == (200, {"step": 0, "metrics": {}})
    assert process.wait() == 0, process.output
    word = last_word(0)
    assert word["lepton"] == 1
    assert word["progress"]["totalSteps"] == 50_000
    assert 0 < word["progress"]["step"] < 50_000
    assert next(iter(word["progress"]["metrics"])) == "episode_reward_mean"
    assert set(word["progress"]["metrics"]) == {
        "episode_reward_mean",
        "episode_length_mean",
        "loss",
        "policy_loss",
        "value_loss",
        "entropy",
        "approx_kl",
        "clip_fraction",
        "explained_variance",
        "learning_rate",
        "evaluation_reward_mean",
    }
    assert word["evaluation"]["passed"] is True
    assert word["evaluation"]["episodes"] == 8
    assert word["model"]["path"] == "model/agent.pth"
    assert word["model"]["formats"] == ["pth", "safetensors", "onnx"]
    header, _ = load_model(storage / "model/agent.safetensors")
    assert header.made_by.startswith("lepton ")
    assert Agent.load_model(storage / "model/agent.pth").reward_threshold == 100
    assert "default/test: PPO on lepton/CartPole-v1" in process.output


def test_sigterm_makes_a_checkpoint_from_which_the_run_ends_as_if_it_had_not_stopped(
    tmp_path: Path,
    workers: Callable[..., Any],
    last_word: Callable[[int], Any],
    fetch: Callable[..., Any],
    eventually: Callable[..., Any],
    port: int,
) -> None:
    run = {"trainer": {"maxSteps": 40_000}, "evaluation": {"episodes": 4}}
    (process,) = workers(run, LEPTON_STORAGE=str(tmp_path / "whole"))
    assert process.wait() == 0, process.output
    expected = last_word(0)

    storage = str(tmp_path / "parts")
    (process,) = workers(run, LEPTON_STORAGE=storage, port=port)
    assert eventually(lambda: json.loads(fetch(port, "/progress")[1])["step"] > 2000)
    process.process.terminate()
    assert process.wait() == 143, process.output
    assert "stopped by SIGTERM at step" in process.output
    interrupted = last_word(0)
    assert 2000 < interrupted["progress"]["step"] < 40_000
    assert "error" not in interrupted
    (process,) = workers(run, LEPTON_STORAGE=storage)
    assert process.wait() == 0, process.output
    assert "resumed from the checkpoint at step" in process.output
    assert last_word(0)["model"] == expected["model"]
    assert last_word(0)["evaluation"] == expected["evaluation"]


def test_a_killed_run_goes_on_from_its_last_checkpoint_and_ends_as_if_nothing_had_happened(
    tmp_path: Path,
    workers: Callable[..., Any],
    last_word: Callable[[int], Any],
    eventually: Callable[..., Any],
) -> None:
    run = {
        "trainer": {"maxSteps": 80_000},
        "evaluation": {"episodes": 4, "everySteps": 20_000},
        "checkpoint": {"everySeconds": 1},
    }
    (process,) = workers(run, LEPTON_STORAGE=str(tmp_path / "whole"))
    assert process.wait() == 0, process.output
    expected = last_word(0)

    storage = tmp_path / "parts"
    (process,) = workers(run, LEPTON_STORAGE=str(storage))
    assert eventually(lambda: list(storage.glob("checkpoints/checkpoint-*.pt")))
    process.process.kill()
    assert process.wait() == -9, process.output
    (process,) = workers(run, LEPTON_STORAGE=str(storage))
    assert process.wait() == 0, process.output
    assert "resumed from the checkpoint at step" in process.output
    found = last_word(0)
    assert found["model"] == expected["model"]
    assert found["evaluation"] == expected["evaluation"]
    assert found["progress"]["episodes"] == expected["progress"]["episodes"]


@pytest.mark.parametrize(
    ("run", "text"),
    [
        ({"environment": {"name": "CartPol-v1"}}, "did you mean CartPole-v1"),
        ({"agent": {"hyperparameters": {"gamma": 7}}}, "gamma: input should be less than or equal"),
        ({"agent": {"algorithm": "Magic"}}, "LEPTON_RUN is invalid: agent.algorithm"),
    ],
)
def test_wrong_input_ends_with_code_2_and_one_line(
    workers: Callable[..., Any], last_word: Callable[[int], Any], run: dict[str, Any], text: str
) -> None:
    (process,) = workers(run)
    assert process.wait() == 2
    assert text in process.output
    assert "Traceback" not in process.output
    error = last_word(0)["error"]
    assert error["invalid"] is True
    assert text in error["line"]
    assert "InputError" not in error["line"]
    assert "where" not in error


def test_one_pod_with_two_gpus_runs_two_ranks_and_ends_with_the_code_of_the_first_to_fail(
    tmp_path: Path, python: Callable[..., Any], last_word: Callable[[int], Any], port: int
) -> None:
    (tmp_path / "pair.py").write_text(
        "import os, gymnasium\n"
        "from gymnasium.envs.toy_text import FrozenLakeEnv\n"
        "class Pair(FrozenLakeEnv):\n"
        "    def step(self, action):\n"
        "        if os.environ['RANK'] == '3' and os.environ['LOCAL_RANK'] == '1':\n"
        "            raise OSError('disk is gone')\n"
        "        return super().step(action)\n"
    )
    run = {"job": "default/pair", "environment": {"entryPoint": "pair:Pair"}}
    pods = [
        python(
            "-m",
            "lepton",
            "worker",
            LEPTON_RUN=json.dumps(run),
            LEPTON_TERMINATION_LOG=str(tmp_path / f"last-word-{node}"),
            MASTER_ADDR="localhost",
            MASTER_PORT=str(port),
            WORLD_SIZE="4",
            GLOO_SOCKET_IFNAME="lo",
            PET_NNODES="2",
            PET_NPROC_PER_NODE="2",
            PET_NODE_RANK=str(node),
        )
        for node in range(2)
    ]
    assert [pod.wait() for pod in pods] == [1, 1], pods[1].output
    # Both ranks of the second pod fail; the one that is the cause has the last word.
    assert last_word(1)["rank"] == 3
    assert (
        last_word(1)["error"]["line"]
        == "environment pair:Pair fails in step(): OSError: disk is gone"
    )
    assert last_word(0)["error"]["secondary"] is True
