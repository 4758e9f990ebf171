"""A first look at an environment of others: whether it keeps to what its spaces promise.

One reset and one step are enough to tell a wrong shape at once and by name, where training would
fail later with an error of the arrays that it writes to, or learn from what is not meant.
"""

import copy
from contextlib import AbstractContextManager
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from lepton.environments.spaces import misfit, shown
from lepton.errors import InputError

STEP_VALUES = "observation, reward, terminated, truncated, info"


class Guard(Protocol):
    """Makes errors within of those of the environment, which tell what it was doing."""

    def __call__(self, failure: str, /) -> AbstractContextManager[None]: ...


def probe(batch: VectorEnv[Any, Any, Any], name: str, guard: Guard) -> None:
    """Raises InputError for what is wrong with the environment, of which this is a batch of one."""
    if isinstance(batch, SyncVectorEnv):
        # Behind the batch, which hides what ends an episode and fails on a wrong shape.
        one = batch.envs[0]
        _play(one, one.observation_space, one.action_space, name, guard)
    else:
        observations = batch_space(batch.single_observation_space, 1)
        actions = batch_space(batch.single_action_space, 1)
        _play(batch, observations, actions, name, guard)


def require_spaces(environment: Any, name: str, prefix: str = "") -> None:
    """Raises InputError for an environment that does not say what it observes and how it acts."""
    for attribute in (f"{prefix}observation_space", f"{prefix}action_space"):
        found = getattr(environment, attribute, None)
        if not isinstance(found, spaces.Space):
            raise InputError(
                f"environment {name} has no {attribute}: set it to a space of gymnasium.spaces, "
                f"not {found!r}"
            )


def _play(
    environment: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any],
    observations: spaces.Space[Any],
    actions: spaces.Space[Any],
    name: str,
    guard: Guard,
) -> None:
    with guard("fails in reset()"):
        begun: Any = environment.reset(seed=0)
    if not isinstance(begun, tuple) or len(begun) != 2 or not isinstance(begun[1], dict):
        raise InputError(
            f"environment {name}: reset() returns {_kinds(begun)}, not (observation, info)"
        )
    if wrong := misfit(observations, begun[0]):
        raise InputError(f"environment {name}: the observation that reset() returns {wrong}")
    action = _action(actions)
    with guard("fails in step()"):
        stepped: Any = environment.step(action)
    if not isinstance(stepped, tuple) or len(stepped) != 5 or not isinstance(stepped[4], dict):
        raise InputError(
            f"environment {name}: step() returns {_kinds(stepped)}, not ({STEP_VALUES})"
        )
    if wrong := misfit(observations, stepped[0]):
        raise InputError(f"environment {name}: the observation that step() returns {wrong}")
    for what, value in zip(("reward", "terminated", "truncated"), stepped[1:4], strict=True):
        # Of one number, whether alone or in an array.
        if np.size(value) != 1 or np.asarray(value).dtype.kind not in "biuf":
            raise InputError(
                f"environment {name}: {what}, as step() returns it, is {shown(value)}, not a number"
            )


def _action(space: spaces.Space[Any]) -> Any:
    """An action, the same each time; the environment's own space draws nothing for it."""
    drawn = copy.deepcopy(space)
    drawn.seed(0)
    return drawn.sample()


def _kinds(value: Any) -> str:
    if not isinstance(value, tuple):
        return type(value).__name__
    return f"({', '.join(type(part).__name__ for part in value)})"
