"""Resumption: what a run writes into its checkpoints, and how the next one goes on from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lepton
from lepton.agents.agent import Agent
from lepton.algorithms.learner import Learner
from lepton.distributed import WorkerGroup
from lepton.environments.environment import Environment
from lepton.environments.spaces import space_to_json
from lepton.errors import InputError
from lepton.training.checkpoint import (
    FORMAT,
    CheckpointFolder,
    CheckpointHeader,
    from_bytes,
    pack,
    read_checkpoint,
    to_bytes,
    unpack,
)
from lepton.training.collector import StepCollector
from lepton.training.generators import generators_state, restore_generators
from lepton.training.record import Best, Record


@dataclass
class Resumption:
    """Checkpoints of one run. A file holds the states of all workers; the first writes it."""

    folder: CheckpointFolder | None
    """None for a run that keeps none."""
    begin_from: Path | None
    """Another run's checkpoints, to begin from while this one has none."""
    configuration: dict[str, Any]
    """What must be the same in the run that goes on."""
    group: WorkerGroup
    agent: Agent
    learner: Learner
    collector: StepCollector

    def worker_state(self, record: Record) -> dict[str, Any]:
        """What differs between workers, as it is now; it does not change afterwards."""
        return {
            "collector": self.collector.state(),
            "learner": self.learner.worker_state(),
            "recent": record.recent_to_json(),
            "generators": generators_state(),
        }

    def save(self, record: Record) -> None:
        """Write a checkpoint together with all other workers."""
        if self.folder is None:
            return
        mine = self.worker_state(record) | {"bulk": self.learner.bulk_state()}
        workers = self.group.collect_bytes(to_bytes(mine))
        if self.group.is_first:
            self._write(record, workers)

    def save_alone(self, record: Record, worker_state: dict[str, Any]) -> None:
        """Write a checkpoint at an earlier `worker_state`, before which the learner has not
        learned since. Does nothing in a group, whose others can't be asked."""
        if self.group.size == 1 and self.folder is not None:
            mine = worker_state | {"bulk": self.learner.bulk_state()}
            self._write(record, [to_bytes(mine)])

    @property
    def keeps(self) -> bool:
        """Whether the next run can go on from where this one is."""
        return self.folder is not None and not self.folder.failed

    def _write(self, record: Record, workers: list[bytes]) -> None:
        best = record.best
        state = {
            "network": self.agent.network.state_dict(),
            "learner": self.learner.state(),
            "place": self._place,
            "best": None if best is None else [best.reward_mean, best.network],
            "workers": [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in workers],
        }
        header = CheckpointHeader(configuration=self.configuration, record=record.to_json())
        assert self.folder is not None
        self.folder.try_to_write(record.counters.steps, pack(header, state))

    def restore(self, fresh_seed: int) -> tuple[Record, bool] | None:
        """Go on from the newest checkpoint, if there is one; the record, and whether everything
        continues exactly.

        Environments that can't be restored begin new episodes, with `fresh_seed` plus the steps. So
        do all where the checkpoint is of another place, with new random numbers and an empty
        buffer. Raises InputError when the checkpoints are of another run.
        """
        group = self.group
        data = group.share_bytes(self._newest() if group.is_first else None)
        if not data:
            return None
        header, state = unpack(data)
        self._refuse_others(header)
        self.agent.network.load_state_dict(state["network"])
        workers = state["workers"]
        mine: dict[str, Any] = {}
        same_place = state.get("place", self._place) == self._place
        if same_place and group.rank < len(workers):
            mine = from_bytes(workers[group.rank].numpy().tobytes())
        best = Best(*state["best"]) if state["best"] is not None else None
        record = Record.from_json(header.record, best, mine.get("recent", "[]"))
        self.learner.restore(state["learner"], mine.get("learner"), mine.get("bulk"))
        if mine:
            seed = (fresh_seed + record.counters.steps) % 2**32
            self.collector.restore(mine["collector"], seed)
            restore_generators(mine["generators"])
        same = same_place and len(workers) == group.size
        return record, same and self.collector.continues_exactly

    @property
    def _place(self) -> list[str]:
        """What a worker's own state belongs to: random numbers of a GPU are others than a CPU's,
        and environments that step on a device are kept in another form."""
        return [self.group.device.type, type(self.collector).__name__]

    def _newest(self) -> bytes:
        """This run's own checkpoint, or else the one to begin from; empty for neither."""
        own = self.folder.read_newest() if self.folder is not None else None
        if own is not None or self.begin_from is None:
            return own or b""
        other = read_checkpoint(self.begin_from)
        if other is None:
            raise InputError(f"there is no checkpoint to resume from in {self.begin_from}")
        return other

    @property
    def _places(self) -> str:
        places = [self.folder.path if self.folder else None, self.begin_from]
        return " or ".join(str(place) for place in places if place is not None)

    def _refuse_others(self, header: CheckpointHeader) -> None:
        if header.format != FORMAT:
            raise InputError(
                f"the checkpoints in {self._places} have format {header.format}, made by "
                f"{header.made_by}; this is lepton {lepton.__version__}, which reads format "
                f"{FORMAT}: use another storage, or delete them"
            )
        theirs = header.configuration
        different = [n for n, value in self.configuration.items() if value != theirs.get(n)]
        if different:
            raise InputError(
                f"the checkpoints in {self._places} are of another run (different: "
                f"{', '.join(different)}); use another storage, or delete them"
            )


def run_configuration(
    environment: Environment, count: int, agent: Agent, seed: int
) -> dict[str, Any]:
    """What must be the same in a run that goes on from another's checkpoint."""
    assert agent.observation_space is not None
    return {
        "environment": environment.name,
        "environmentParameters": environment.description()["parameters"],
        "count": count,
        "algorithm": agent.algorithm.value,
        "hyperparameters": agent.hyperparameters.model_dump(mode="json", by_alias=True),
        "observationSpace": space_to_json(agent.observation_space),
        "actionSpace": space_to_json(agent.action_space),
        "seed": seed,
    }
