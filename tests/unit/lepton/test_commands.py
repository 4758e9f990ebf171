"""`lepton train`, `lepton watch` and `lepton environments`, as people run them."""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image, ImageSequence

from lepton import Agent, Environment, InputError, Trainer
from lepton.agents.files import load_model
from lepton.agents.header import TrainedIn
from lepton.environments.scenarios import SCENARIOS
from lepton.training import recording
from lepton.training.recording import record

OWN = """
import gymnasium, numpy as np
from gymnasium import spaces

class Corridor(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, length=5, render_mode=None):
        self.length, self.render_mode = length, render_mode
        self.observation_space = spaces.Discrete(length)
        self.action_space = spaces.Discrete(2, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.left = 0, 3 * self.length
        return self.at, {}

    def step(self, action):
        assert action in (1, 2), action
        self.at, self.left = max(0, self.at + (1 if action == 2 else -1)), self.left - 1
        there = self.at == self.length - 1
        return self.at, float(there), there, self.left == 0, {}

    def render(self):
        picture = np.full((11, 10 * self.length + 1, 3), 255, np.uint8)
        picture[:, 10 * self.at : 10 * self.at + 10] = (200, 0, 0)
        return picture
"""


@pytest.fixture
def lepton(python: Callable[..., Any]) -> Callable[..., Any]:
    """Run the command; the process, whose exit code is checked."""

    def run(*arguments: str, code: int = 0, **variables: str) -> Any:
        process = python("-m", "lepton", *arguments, **variables)
        assert process.wait() == code, process.output
        assert "Traceback" not in process.output
        return process

    return run


@pytest.fixture
def corridor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An environment of one's own in module `own`, here and for processes."""
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    import own  # type: ignore[import-not-found]

    return own.Corridor


def untrained(environment: Environment, path: Path) -> None:
    """Save a model of this environment."""
    agent = Agent(environment.action_space, environment.observation_space)
    agent.environment = environment.description()
    agent.save_model(path)


def test_every_environment_that_lepton_brings_is_listed_in_a_line(
    lepton: Callable[..., Any],
) -> None:
    lines = lepton("environments").output.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(f"lepton/{n}" for n in SCENARIOS)
    for line in lines:
        assert re.fullmatch(r"lepton/\S+ {2,}\w.{10,}\.", line), line


def test_train_shows_the_score_over_time_and_saves_and_watch_shows_the_agent(
    tmp_path: Path, lepton: Callable[..., Any]
) -> None:
    arguments = ("--steps", "1e4", "--count", "8", "--set", "hiddenSizes=[8]", "--seed", "3")
    output = lepton("train", "lepton/safe-danger", *arguments).output
    assert output.startswith("lepton/safe-danger-v1: PPO, 10,000 steps, seed 3\n")
    points = re.findall(
        r"^step ([\d,]+) of 10,000 · score -?[\d.]+ \(0 random, 100 reference\)", output, re.M
    )
    assert len(points) == 20
    assert points[-1] == "10,240"
    assert re.search(r"^score -?[\d.]+ ± [\d.]+ \(0 random, 100 reference\) over 32", output, re.M)
    model = Path("lepton-runs/safe-danger-v1/model")
    files = [str(model / f"agent.{suffix}") for suffix in ("pth", "safetensors", "onnx")]
    assert f"files: {' '.join(files)}\n" in output
    for file in files:
        assert (tmp_path / file).exists()
    header, _ = load_model(tmp_path / files[0])
    assert header.environment == TrainedIn(name="lepton/safe-danger-v1", parameters={})
    assert header.hyperparameters["hiddenSizes"] == [8]

    output = lepton("watch", files[1], "--episodes", "2", "--seed", "7").output
    match = re.fullmatch(r"agent\.gif: 202 pictures, score (\S+), (\S+)\n", output)
    assert match is not None, output
    image = Image.open(tmp_path / "agent.gif")
    assert image.size == (400, 200)
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert sum(durations) == 202 * 50  # pictures that are equal are one frame

    # Again is another run; with the folder it is the same one, which is over.
    again = lepton("train", "lepton/safe-danger", *arguments)
    assert "lepton-runs/safe-danger-v1-2/model/agent.pth" in again.output
    assert "resumed" not in again.output
    finished = lepton(
        "train", "lepton/safe-danger", *arguments, "--output", "lepton-runs/safe-danger-v1"
    )
    assert "resumed from the checkpoint at step 10,240" in finished.output


def test_ctrl_c_saves_and_the_folder_goes_on(
    python: Callable[..., Any], lepton: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    arguments = ("train", "lepton/CartPole", "--steps", "200000", "--set", "epochs=2")
    process = python("-m", "lepton", *arguments)
    assert eventually(lambda: "step 1" in process.output)
    process.process.send_signal(signal.SIGINT)
    assert process.wait() == 130, process.output
    assert "Traceback" not in process.output
    told = "to go on, add --output lepton-runs/CartPole-v1 to the same command\n"
    assert process.output.endswith(told)
    output = lepton(*arguments, "--output", "lepton-runs/CartPole-v1").output
    assert "resumed from the checkpoint at step" in output
    assert "score" in output
    assert "(sum of rewards)" in output


def test_an_environment_of_ones_own_is_trained_and_watched_where_it_lies(
    tmp_path: Path, corridor: Any, lepton: Callable[..., Any]
) -> None:
    arguments = ("--steps", "4000", "--output", "run", "--algorithm", "PPO")
    lepton("train", "own:Corridor", *arguments, PYTHONPATH="")
    error = lepton("watch", "run/model/agent.pth", code=2, PYTHONPATH="").output
    assert error == (
        "error: model file run/model/agent.pth was trained in own:Corridor; a file never says what "
        "code to run: add --environment own:Corridor\n"
    )
    output = lepton(
        "watch", "run/model/agent.pth", "--environment", "own:Corridor", PYTHONPATH=""
    ).output
    assert output == "agent.gif: 5 pictures, score 1.0\n"
    frames = [
        np.asarray(frame.convert("RGB"))
        for frame in ImageSequence.Iterator(Image.open(tmp_path / "agent.gif"))
    ]
    reds = [np.flatnonzero((frame[5] == (200, 0, 0)).all(-1)) for frame in frames]
    assert [int(red[0]) for red in reds] == [0, 10, 20, 30, 40]


def test_parameters_come_back_with_the_environment(
    tmp_path: Path, corridor: Any, lepton: Callable[..., Any]
) -> None:
    environment = Environment("own:Corridor", length=3)
    agent = Agent(environment.action_space)
    Trainer(environment, agent, max_steps=64, evaluation_episodes=1, progress=False)
    agent.save_model(tmp_path / "short.pth")
    loaded = Agent.load_model(tmp_path / "short.pth")
    assert loaded.environment == {"name": "own:Corridor", "parameters": {"length": 3}}
    lepton("watch", "short.pth", "--environment", "own:Corridor")
    assert Image.open(tmp_path / "agent.gif").size == (31, 11)


def test_a_file_cannot_name_code_that_watch_then_runs(
    tmp_path: Path, lepton: Callable[..., Any]
) -> None:
    environment = Environment("lepton/safe-danger")
    agent = Agent(environment.action_space, environment.observation_space)
    agent.environment = {"name": "os:system", "parameters": {"command": "touch owned"}}
    agent.save_model(tmp_path / "evil.pth")
    output = lepton("watch", "evil.pth", code=2).output
    assert "was trained in os:system; a file never says what code to run" in output
    assert not (tmp_path / "owned").exists()


def test_an_mp4_is_what_ffmpeg_makes_of_the_pictures(
    tmp_path: Path, corridor: Any, lepton: Callable[..., Any]
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n"
        "data = sys.stdin.buffer.read()\n"
        "Path(sys.argv[-1]).write_text(f\"{' '.join(sys.argv[1:-1])} {len(data)}\")\n"
    )
    program.chmod(0o755)
    (tmp_path / "imageio_ffmpeg.py").write_text(
        f"def get_ffmpeg_exe():\n    return {str(program)!r}\n"
    )
    untrained(Environment(corridor), tmp_path / "agent.pth")
    arguments = ("watch", "agent.pth", "--environment", "own:Corridor", "--output", "agent.mp4")
    pictures = int(lepton(*arguments).output.split()[1])
    made = (tmp_path / "agent.mp4").read_text()
    assert "-pix_fmt rgb24 -s 51x11 -r 10 -i -" in made
    assert int(made.split()[-1]) == pictures * 51 * 11 * 3

    program.write_text("#!/bin/sh\necho 'Unknown encoder' >&2\nexit 1\n")
    assert lepton(*arguments, code=1).output == "error: ffmpeg failed: Unknown encoder\n"
    assert (tmp_path / "agent.mp4").read_text() == made


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train"], "the following arguments are required: ENVIRONMENT (see lepton train --help)"),
        (["train", "CartPole-v1", "--steps", "0"], "'0' is no whole number of 1 or more"),
        (["train", "CartPole-v1", "--steps", "1.5"], "'1.5' is no whole number of 1 or more"),
        (["train", "CartPole-v1", "--steps", "inf"], "'inf' is no whole number of 1 or more"),
        (["train", "CartPole-v1", "--seed", "-1"], "'-1' is no whole number from 0 to 2^32 - 1"),
        (["trian"], "invalid choice: 'trian'"),
        (
            ["train", "lepton/CartPol"],
            "lepton/CartPol is unknown (did you mean lepton/CartPole?); there are lepton/CartPole,",
        ),
        (["train", ""], "the environment has no name: give an id such as lepton/CartPole"),
        (
            ["train", "lepton/CartPole", "--algorithm", "ppo"],
            "algorithm ppo is unknown (did you mean PPO?); there are PPO, PQN, DQN, SAC, QLearning",
        ),
        (["train", "nowhere:Env"], "entryPoint nowhere:Env: there is no module nowhere"),
        (["train", "lepton/CartPole", "--set", "gamma"], "--set gamma: write --set name=value"),
        (["train", "lepton/CartPole", "--set", "gamma=7"], "hyperparameter gamma: input should be"),
        (["watch", "missing.pth"], "model file missing.pth does not exist"),
        (["watch", "/dev/null"], "damaged or holds more than weights, so it is not loaded"),
    ],
)
def test_mistakes_are_told_in_a_line(
    tmp_path: Path, lepton: Callable[..., Any], arguments: list[str], text: str
) -> None:
    (line,) = lepton(*arguments, code=2).output.splitlines()
    assert line.startswith("error: ")
    assert text in line
    assert not (tmp_path / "lepton-runs").exists()


def test_an_error_in_an_environment_of_ones_own_is_told_with_its_place(
    tmp_path: Path, corridor: Any, lepton: Callable[..., Any]
) -> None:
    (tmp_path / "bad.py").write_text(
        "from own import Corridor\n\nclass Bad(Corridor):\n"
        "    def reset(self, **arguments):\n        raise RuntimeError('no map')\n"
    )
    output = lepton("train", "bad:Bad", code=2).output
    text = "error: environment bad:Bad fails in reset(): RuntimeError: no map (bad.py:5 in reset)\n"
    assert output == text


def test_an_output_that_cannot_be_is_told_before_training(
    tmp_path: Path, lepton: Callable[..., Any]
) -> None:
    (tmp_path / "file").write_text("")
    arguments = ("lepton/safe-danger", "--steps", "1000", "--output", "file")
    assert lepton("train", *arguments, code=2).output.splitlines()[1:] == [
        "error: can't write the model in file/model: Not a directory; choose another name"
    ]


def test_a_job_that_trains_by_the_command_has_a_last_word(
    tmp_path: Path, lepton: Callable[..., Any]
) -> None:
    word = tmp_path / "last-word"
    lepton("train", "nowhere:Env", code=2, LEPTON_TERMINATION_LOG=str(word))
    error = json.loads(word.read_bytes())["error"]
    assert error["invalid"] is True
    assert error["line"].startswith("entryPoint nowhere:Env")


class Plain(gymnasium.Env[int, int]):
    """Draws nothing and does not end."""

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def reset(self, **arguments: Any) -> Any:
        return 0, {}

    def step(self, action: Any) -> Any:
        return 0, 1.0, False, False, {}


class Endless(Plain):
    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.zeros((4, 4, 3), np.uint8)


class Scribble(Endless):
    def render(self) -> Any:
        return "no picture"


class OnlyBatches(gymnasium.vector.SyncVectorEnv):
    def __init__(self, num_envs: int) -> None:
        super().__init__(
            [Plain] * num_envs, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
        )


def test_a_recording_ends_even_where_episodes_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_PICTURES", 30)
    environment = Environment(Endless)
    agent = Agent(environment.action_space, environment.observation_space)
    made = record(agent, environment, tmp_path / "a.gif", episodes=3)
    assert (made.pictures, made.cut, made.scores) == (30, True, [])


class Backwards(Endless):
    metadata = {"render_modes": ["rgb_array"], "render_fps": -20}  # noqa: RUF012


def test_a_recording_has_an_episode_and_a_pace(tmp_path: Path) -> None:
    agent = Agent(spaces.Discrete(2), spaces.Discrete(2))
    with pytest.raises(InputError, match="recording: episodes must be at least 1, not 0"):
        record(agent, Environment(Endless), tmp_path / "a.gif", episodes=0)
    with pytest.raises(InputError, match="render_fps -20, which is no number of pictures"):
        record(agent, Environment(Backwards), tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("source", "name", "text"),
    [
        (Plain, "a.gif", "can't be drawn: it has no render mode rgb_array"),
        (Scribble, "a.gif", "not a picture of"),
        (OnlyBatches, "a.gif", "can be had as a batch alone"),
        (Endless, "a.png", r"must end in \.gif or \.mp4"),
        ("FrozenLake-v1", "a.gif", r"acts in Discrete\(2\), environment FrozenLake-v1 takes"),
    ],
)
def test_what_cannot_be_recorded_is_said(tmp_path: Path, source: Any, name: str, text: str) -> None:
    agent = Agent(spaces.Discrete(2), spaces.Discrete(2))
    with pytest.raises(InputError, match=text):
        record(agent, Environment(source), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
