"""Recordings: an agent at work as a GIF, or as an MP4 where ffmpeg is there."""

import contextlib
import importlib
import io
import itertools
import math
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lepton.agents.agent import Agent
from lepton.agents.files import write_atomically
from lepton.environments.drawing import Picture
from lepton.environments.environment import Environment, ParametersError
from lepton.errors import InputError, TrainingError

MAX_PICTURES = 2000
"""A recording ends here, in the middle of an episode if need be: its pictures are kept in memory
until the file is written."""
DEFAULT_PACE = 20.0
"""Pictures a second of environments that don't say."""
MOST_PACE = 50.0
"""Of a GIF: viewers play faster ones slowly."""


@dataclass
class Recording:
    """What a recording shows."""

    scores: list[float] = field(default_factory=list)
    """Of the episodes that ended: sums of rewards, or what the environment's `score` makes of
    them."""
    pictures: int = 0
    cut: bool = False
    """It was ended by MAX_PICTURES."""


def record(
    agent: Agent, environment: Environment, path: str | Path, episodes: int = 1, seed: int = 0
) -> Recording:
    """Let the agent play greedily, and write what it looks like to a .gif or .mp4 file.

    The same seed gives the same episodes. Raises InputError for an environment that does not fit
    the agent or can't be drawn, no episodes, another suffix, or an .mp4 without ffmpeg, and what
    `write_atomically` raises.
    """
    if episodes < 1:
        raise InputError(f"recording: episodes must be at least 1, not {episodes}")
    path = Path(path)
    if path.suffix not in (".gif", ".mp4"):
        raise InputError(f"recording {path}: the name must end in .gif or .mp4")
    ffmpeg = _ffmpeg() if path.suffix == ".mp4" else None
    if agent.action_space != environment.action_space:
        raise InputError(
            f"the agent acts in {agent.action_space}, environment {environment.name} takes "
            f"{environment.action_space}"
        )
    agent.bind(environment.observation_space)
    one = _drawn(environment)
    recording = Recording()
    try:
        pace = _pace(environment, one)
        pictures = _play(agent, environment, one, episodes, seed, recording)
        data = _gif(pictures, pace) if ffmpeg is None else _mp4(pictures, pace, ffmpeg)
    finally:
        one.close()
    write_atomically(path, data, "recording")
    return recording


def _drawn(environment: Environment) -> Any:
    """One copy of the environment that gives pictures."""
    refusal = f"environment {environment.name} can't be drawn: it has no render mode rgb_array"
    try:
        one = environment.make_one(render_mode="rgb_array")
    except InputError as error:  # without the argument it has been made before
        if isinstance(error, ParametersError) or isinstance(error.__cause__, TypeError):
            raise InputError(refusal) from None
        raise
    if one.render_mode != "rgb_array":
        raise InputError(refusal)
    return one


def _pace(environment: Environment, one: Any) -> float:
    """Pictures a second."""
    told = one.metadata.get("render_fps") or DEFAULT_PACE
    with contextlib.suppress(TypeError, ValueError):
        if 0 < float(told) < math.inf:
            return float(told)
    raise InputError(
        f"environment {environment.name} says render_fps {told!r}, which is no number of pictures "
        "a second"
    )


def _play(
    agent: Agent, environment: Environment, one: Any, episodes: int, seed: int, recording: Recording
) -> Iterator[Picture]:
    score = getattr(one.unwrapped, "score", lambda returns: returns)
    for episode in range(episodes):
        observation, _ = one.reset(seed=seed + episode)
        total, done = 0.0, False
        yield _picture(environment, one, recording)
        while not done:
            if recording.pictures == MAX_PICTURES:
                recording.cut = True
                return
            observation, reward, terminated, truncated, _ = one.step(agent.act(observation))
            total += float(reward)
            done = bool(terminated or truncated)
            yield _picture(environment, one, recording)
        recording.scores.append(float(score(np.array([total]))[0]))


def _picture(environment: Environment, one: Any, recording: Recording) -> Picture:
    with environment.helpful_errors("can't be drawn"):
        picture: NDArray[Any] = np.asarray(one.render())
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(
            f"environment {environment.name} draws {picture.shape}, not a picture of (height, "
            "width, 3)"
        )
    recording.pictures += 1
    return picture.astype(np.uint8, copy=False)


def _gif(pictures: Iterator[Picture], pace: float) -> bytes:
    images = (
        Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE)
        for picture in pictures
    )
    buffer = io.BytesIO()
    next(images).save(
        buffer,
        "GIF",
        save_all=True,
        append_images=images,
        duration=round(1000 / min(pace, MOST_PACE)),
        loop=0,
    )
    return buffer.getvalue()


def _mp4(pictures: Iterator[Picture], pace: float, ffmpeg: str) -> bytes:
    first = next(pictures)
    height, width, _ = first.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.mp4"
        # The usual colour format halves both sides, so they must be even.
        command = f"{ffmpeg} -loglevel error -f rawvideo -pix_fmt rgb24 -s {width}x{height}"
        command += f" -r {pace:g} -i - -vf pad=ceil(iw/2)*2:ceil(ih/2)*2 -pix_fmt yuv420p {path}"
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stderr=errors)
            assert process.stdin is not None
            try:
                for picture in itertools.chain([first], pictures):
                    process.stdin.write(picture.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass  # it ended early, and says why
            except BaseException:
                process.kill()
                process.wait()
                raise
            if process.wait() != 0:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                raise TrainingError(f"ffmpeg failed: {lines[-1] if lines else process.returncode}")
        return path.read_bytes()


def _ffmpeg() -> str:
    """The program: that of package imageio-ffmpeg, or the system's."""
    try:
        found: str = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
        return found
    except (ImportError, RuntimeError):
        program = shutil.which("ffmpeg")
    if program is None:
        raise InputError(
            "an .mp4 needs ffmpeg: pip install imageio-ffmpeg, install ffmpeg, or write a .gif"
        )
    return program
