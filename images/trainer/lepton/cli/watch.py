"""`lepton watch`: a trained agent at work, as a picture that moves."""

from typing import Any

from gymnasium.envs.registration import registry

from lepton.agents.agent import Agent
from lepton.environments.environment import Environment
from lepton.errors import InputError
from lepton.training.recording import record


def watch(model: str, environment: str | None, output: str, episodes: int, seed: int) -> int:
    """Record the model's agent; the exit code. Raises LeptonError."""
    agent = Agent.load_model(model)
    recording = record(agent, _environment(model, agent, environment), output, episodes, seed)
    scores = ", ".join(f"{score:.1f}" for score in recording.scores) or "no episode ended"
    cut = "; cut off there" if recording.cut else ""
    print(f"{output}: {recording.pictures} pictures{cut}, score {scores}")
    return 0


def _environment(model: str, agent: Agent, asked_for: str | None) -> Environment:
    trained: dict[str, Any] = agent.environment or {}
    name = trained.get("name")
    if asked_for is None:
        if name is None:
            raise InputError(f"model file {model} names no environment: add --environment ID")
        if not _comes_along(name):
            raise InputError(
                f"model file {model} was trained in {name}; a file never says what code to run: "
                f"add --environment {name}"
            )
    elif name is None or asked_for not in (name, name.rpartition("-v")[0]):
        return Environment(asked_for)
    parameters = trained["parameters"]
    if parameters is None:
        raise InputError(
            f"{name} was made with parameters that a file can't hold: use lepton.training.recording"
        )
    return Environment(name, **parameters)


def _comes_along(name: str) -> bool:
    """Whether the environment is lepton's or Gymnasium's own."""
    entry_point = getattr(registry.get(name), "entry_point", None)
    return name.startswith("lepton/") or str(entry_point).startswith("gymnasium.envs.")
