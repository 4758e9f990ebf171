"""Learner: what every algorithm is to the trainer, in four methods and its state.

The trainer lets `act` choose actions for `horizon` steps in a batch of environments, hands what
happened to `learn`, and begins again. On-policy algorithms learn from just that; off-policy ones
keep it and learn from the past as well.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lepton.agents.network import AgentNetwork
from lepton.agents.perceptor import RunningMoments
from lepton.algorithms.flat import all_finite
from lepton.algorithms.rollout import Rollout
from lepton.distributed import WorkerGroup
from lepton.errors import NonFiniteError
from lepton.spec.trainer import Synchronisation


@dataclass(frozen=True)
class Workplace:
    """Where a learner learns: its share of the environments, its peers, and its luck."""

    environments: int = 32
    """How many environments this process steps together."""
    seed: int = 0
    """Of this process's random numbers; differs between processes."""
    group: WorkerGroup = WorkerGroup()  # noqa: RUF009 - a process alone has no state
    synchronisation: Synchronisation = Synchronisation.GRADIENTS


class Learner(ABC):
    """Learns for an agent, whose `network` is changed in place."""

    scales_rewards: ClassVar[bool] = True
    """Whether rewards of environments with a score are to be counted in points of it."""

    horizon: int
    """Steps that each environment makes between two calls of `learn`."""

    def __init__(self, network: AgentNetwork, workplace: Workplace) -> None:
        self._network = network
        self._group = workplace.group
        self._device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self._generator = torch.Generator(self._device).manual_seed(workplace.seed)

    def noise(self, steps: int, environments: int, generator: torch.Generator) -> Tensor:
        """Random numbers for `steps` calls of `act`, first axis `steps`."""
        actuator = self._network.actuator
        return actuator.noise(steps, environments, generator=generator)

    @abstractmethod
    def act(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Actions to learn from, for flattened observations (N, size); called without gradients."""

    @abstractmethod
    def learn(self, rollout: Rollout, progress: float = 0.0) -> dict[str, float]:
        """Update the agent from a rollout; returns what is worth watching.

        `progress` is the share of training that is done, for what is annealed over it.
        Raises NonFiniteError when anything stops being a finite number.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the next update depends on and all workers share, besides the network."""

    def worker_state(self) -> dict[str, Any]:
        """What the next update depends on in this worker alone. Cheap: taken before every
        rollout, and must not change afterwards."""
        return {"generator": self._generator.get_state()}

    def bulk_state(self) -> dict[str, Tensor]:
        """Large parts of this worker's state, which are only read when a checkpoint is made.

        They may share memory with the learner, which does not change them between updates.
        """
        return {}

    def restore(
        self,
        state: dict[str, Any],
        worker_state: dict[str, Any] | None,
        bulk_state: dict[str, Tensor] | None,
    ) -> None:
        """Continue from `state` and, unless this worker is new, from its own states."""
        if worker_state is not None:
            self._generator.set_state(worker_state["generator"])

    # What algorithms share -----------------------------------------------------------------

    def _refuse_not_finite(self, rollout: Rollout) -> None:
        if not all_finite(rollout.observations):
            raise NonFiniteError("observations from the environment hold NaN or infinity")
        if not all_finite(rollout.rewards):
            raise NonFiniteError("rewards from the environment hold NaN or infinity")

    @torch.no_grad()
    def _update_observation_moments(self, rollout: Rollout) -> None:
        """Running statistics of observations, over all workers, if the perceptor keeps any.

        They come first, so that a rollout is learned from with the statistics it is part of.
        """
        moments = getattr(self._network.perceptor, "moments", None)
        if moments is not None:
            self._merge(moments, rollout.observations[:-1][rollout.valid].double())

    def _merge(self, moments: RunningMoments, rows: Tensor) -> None:
        """Add rows (n, size) of all workers to running statistics."""
        count = rows.new_tensor([float(len(rows))])
        sums = torch.cat([count, rows.sum(0), rows.square().sum(0)])
        self._group.sum(sums)
        size = rows.shape[1]
        moments.update(sums[0], sums[1 : size + 1], sums[size + 1 :])


def diverged(parameters: str | None, computed: Mapping[str, Tensor]) -> NonFiniteError:
    """The error that names the first tensor to blame: a parameter, or what was computed of them."""
    found = (name for name, tensor in computed.items() if not all_finite(tensor))
    name = parameters or next(found, "the loss")
    text = f"training diverged: {name} holds NaN or infinity; a lower learningRate may help"
    return NonFiniteError(text)
