"""Agent: what learns and acts, made of perceptor, decision maker and actuator."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from lepton.agents import files
from lepton.agents.actuator import Actuator
from lepton.agents.blueprints import BLUEPRINTS, make_actuator, refuse_observations
from lepton.agents.header import ModelHeader, OwnPart, TrainedIn
from lepton.agents.network import AgentNetwork
from lepton.checks import LARGEST_SEED, choice, finite, whole
from lepton.environments.spaces import (
    Flatten,
    batch_flatten,
    flat_size,
    misfit,
    space_from_json,
    space_to_json,
)
from lepton.errors import InputError
from lepton.spec.agent import Algorithm
from lepton.spec.hyperparameters import validate_hyperparameters
from lepton.spec.hyperparameters.base import Hyperparameters

PerceptorFactory = Callable[[int], nn.Module]
DecisionMakerFactory = Callable[[int, int], nn.Module]
ActuatorFactory = Callable[[Any], Actuator]

NOT_BOUND = (
    "the agent has no networks yet: give it to a Trainer, or make it with observation_space="
)


class Agent:
    """What learns and acts.

    `action_space` is all that it must know at first; its networks are built when the trainer
    binds it to an environment, or at once when `observation_space` is given.

    `hyperparameters` are those of the algorithm by name (`learning_rate` or `learningRate`).
    The three parts can be replaced, each by a class or function that makes a torch module:
    `perceptor(observation_size)` maps flattened observations (n, observation_size) to features
    (n, any); `decision_maker(feature_size, distribution_size)` has methods `policy(features)` and
    `value(features)`; `actuator(action_space)` makes an `Actuator`.

    Raises InputError for spaces, algorithms or hyperparameters that can't be.
    """

    def __init__(
        self,
        action_space: spaces.Space[Any],
        observation_space: spaces.Space[Any] | None = None,
        *,
        algorithm: str | Algorithm = Algorithm.PPO,
        reward_threshold: float | None = None,
        hyperparameters: Mapping[str, Any] | Hyperparameters | None = None,
        perceptor: PerceptorFactory | None = None,
        decision_maker: DecisionMakerFactory | None = None,
        actuator: ActuatorFactory | None = None,
        seed: int = 0,
    ) -> None:
        self.action_space = action_space
        self.observation_space = observation_space
        self.reward_threshold = (
            None if reward_threshold is None else finite("reward_threshold", reward_threshold)
        )
        self.environment: dict[str, Any] | None = None
        """What it was trained in, as `Environment.description` says it; files tell it."""
        self._perceptor, self._decision_maker = perceptor, decision_maker
        self._actuator = actuator
        self.algorithm = choice("algorithm", Algorithm, algorithm)
        try:
            self.hyperparameters = validate_hyperparameters(
                self.algorithm, {} if hyperparameters is None else hyperparameters
            )
        except ValueError as error:
            raise InputError(str(error)) from None
        self._make_actuator()  # refuses what it can't act in, before any training
        self._network: AgentNetwork | None = None
        self._flatten: Flatten | None = None
        self._flat_size = 0
        if observation_space is not None:
            self.bind(observation_space, seed)

    @property
    def network(self) -> AgentNetwork:
        """The three parts as one torch module."""
        if self._network is None:
            raise InputError(NOT_BOUND)
        return self._network

    @property
    def is_bound(self) -> bool:
        """Whether the networks exist."""
        return self._network is not None

    def bind(self, observation_space: spaces.Space[Any], seed: int = 0) -> None:
        """Build the networks for this space; does nothing when they exist for an equal one."""
        if self._network is not None:
            if self.observation_space != observation_space:
                raise InputError(
                    f"the agent was made for observations {self.observation_space}, the "
                    f"environment has {observation_space}"
                )
            return
        refuse_observations(self.algorithm, observation_space)
        with torch.random.fork_rng(devices=[]), _one_thread():
            torch.manual_seed(whole("seed", seed, least=0, most=LARGEST_SEED))
            self._network = self._build(observation_space)
        self.observation_space = observation_space
        self._flatten = batch_flatten(observation_space)
        self._flat_size = flat_size(observation_space)

    def _make_actuator(self) -> Actuator:
        if self._actuator is not None:
            return self._actuator(self.action_space)
        return make_actuator(self.algorithm, self.action_space)

    def _build(self, observation_space: spaces.Space[Any]) -> AgentNetwork:
        values, blueprint = self.hyperparameters, BLUEPRINTS[self.algorithm]
        size = flat_size(observation_space)
        actuator = self._make_actuator()
        if self._perceptor is None:
            perceptor = blueprint.perceptor(observation_space, values)
        elif getattr(values, "normalise_observations", False):
            raise InputError("an own perceptor does its own scaling: leave normaliseObservations")
        else:
            perceptor = self._perceptor(size)
        with torch.no_grad():
            feature_size = perceptor(torch.zeros(1, size)).shape[-1]
        if self._decision_maker is not None:
            decision_maker = self._decision_maker(feature_size, actuator.distribution_size)
        else:
            decision_maker = blueprint.decision_maker(
                feature_size, actuator.distribution_size, values
            )
        normalises_rewards = getattr(values, "normalise_rewards", False)
        return AgentNetwork(perceptor, decision_maker, actuator, feature_size, normalises_rewards)

    def flatten(self, observations: Any) -> Tensor:
        """A batch of observations as the networks take them, float32 (n, size)."""
        if self._flatten is None:
            raise InputError(NOT_BOUND)
        return torch.from_numpy(np.ascontiguousarray(self._flatten(observations)))

    def act(self, observation: Any) -> Any:
        """The best action that the agent knows for one observation. Raises InputError for one that
        its observation space can't hold."""
        if self.observation_space is None:
            raise InputError(NOT_BOUND)
        if wrong := misfit(self.observation_space, observation):
            raise InputError(f"the agent can't act on this: the observation {wrong}")
        if isinstance(self.observation_space, spaces.Tuple | spaces.Dict):
            flat = spaces.flatten(self.observation_space, observation)
            batch = torch.as_tensor(np.asarray(flat, np.float32))[None]
        else:
            batch = self.flatten(np.asarray(observation)[None])
        action = self.act_on_batch(batch)[0]
        return action.item() if isinstance(self.action_space, spaces.Discrete) else action

    def act_on_batch(self, flat_observations: Tensor) -> Any:
        """The best actions for flattened observations (n, size), in the environment's space."""
        device = next(self.network.parameters()).device
        if flat_observations.shape[1:] != (self._flat_size,):
            raise InputError(
                f"flattened observations of this agent have shape (n, {self._flat_size}), not "
                f"{tuple(flat_observations.shape)}"
            )
        actions = self.network.greedy_actions(flat_observations.to(device))
        return self.network.actuator.to_environment(actions)

    def save_model(self, path: str | os.PathLike[str]) -> str:
        """Write the model to a .pth, .safetensors or .onnx file; the SHA-256 of its bytes."""
        return files.save_model(Path(path), self._header(), self.network)

    def _header(self) -> ModelHeader:
        if self.observation_space is None:
            raise InputError(NOT_BOUND)
        parts: dict[OwnPart, Any] = {
            "perceptor": self._perceptor,
            "decisionMaker": self._decision_maker,
            "actuator": self._actuator,
        }
        return ModelHeader(
            algorithm=self.algorithm,
            reward_threshold=self.reward_threshold,
            hyperparameters=self.hyperparameters.model_dump(mode="json", by_alias=True),
            observation_space=space_to_json(self.observation_space),
            action_space=space_to_json(self.action_space),
            environment=TrainedIn(**self.environment) if self.environment else None,
            own_parts={
                name: f"{part.__module__}:{getattr(part, '__qualname__', type(part).__name__)}"
                for name, part in parts.items()
                if part is not None
            },
        )

    @classmethod
    def load_model(
        cls,
        path: str | os.PathLike[str],
        *,
        perceptor: PerceptorFactory | None = None,
        decision_maker: DecisionMakerFactory | None = None,
        actuator: ActuatorFactory | None = None,
    ) -> "Agent":
        """The agent in a .pth or .safetensors file.

        A file never says what code to run: parts of your own have to be given again.
        Raises InputError for files that are damaged, foreign or need parts that are not given.
        """
        header, state = files.load_model(Path(path))
        given: dict[OwnPart, Any] = {
            "perceptor": perceptor,
            "decisionMaker": decision_maker,
            "actuator": actuator,
        }
        for part, name in header.own_parts.items():
            if given[part] is None:
                keyword = "decision_maker" if part == "decisionMaker" else part
                raise InputError(f"model file {path} has an own {part}: pass {keyword}={name}")
        try:
            agent = cls(
                space_from_json(header.action_space),
                space_from_json(header.observation_space),
                algorithm=header.algorithm,
                reward_threshold=header.reward_threshold,
                hyperparameters=header.hyperparameters,
                perceptor=perceptor,
                decision_maker=decision_maker,
                actuator=actuator,
            )
        except InputError as error:
            raise InputError(f"model file {path}: {error}") from None
        agent.environment = header.environment.model_dump() if header.environment else None
        try:
            agent.network.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"model file {path} does not fit its own header: {reason}") from None
        return agent


@contextmanager
def _one_thread() -> Iterator[None]:
    """Orthogonal weights come out a little different with several threads: the same seed shall be
    the same agent, however many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
