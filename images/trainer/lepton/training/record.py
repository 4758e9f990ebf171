"""Record: where a run stands, and what it has found so far. All workers agree on it, but for
their own recent episodes."""

import json
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from lepton.spec.report import Evaluation

RECENT_EPISODES = 100
"""Episodes over which scores and lengths are averaged for progress."""


@dataclass
class Counters:
    """Where training stands, over all workers."""

    steps: int = 0
    episodes: int = 0
    seconds: float = 0.0
    """Spent training, by the first process's clock, in this call and those that it resumed."""
    evaluations: int = 0
    next_evaluation: int = 1
    reached: bool = False
    """An evaluation, and another on other episodes, reached the threshold."""


@dataclass
class Best:
    """The network that did best in an evaluation."""

    reward_mean: float
    network: dict[str, Tensor]


@dataclass
class Record:
    """The run so far."""

    counters: Counters = field(default_factory=Counters)
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))
    """Scores and lengths of this worker's last episodes."""
    best: Best | None = None
    confirmation: Evaluation | None = None
    """The second evaluation that reached the threshold."""
    metrics: dict[str, float] = field(default_factory=dict)

    def note_evaluation(self, evaluation: Evaluation, network: nn.Module) -> None:
        """Keep the network if none did better before."""
        if self.best is None or evaluation.reward_mean > self.best.reward_mean:
            state = {name: t.detach().clone() for name, t in network.state_dict().items()}
            self.best = Best(evaluation.reward_mean, state)

    def to_json(self) -> dict[str, Any]:
        """What all workers share, without the best network."""
        return {
            "counters": asdict(self.counters),
            "confirmation": self.confirmation.to_json() if self.confirmation else None,
            "metrics": self.metrics,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], best: Best | None, recent: str) -> "Record":
        """The record that `to_json` and `recent_to_json` described."""
        confirmation = data["confirmation"]
        return cls(
            counters=Counters(**data["counters"]),
            recent=deque(map(tuple, json.loads(recent)), maxlen=RECENT_EPISODES),
            best=best,
            confirmation=Evaluation.model_validate_json(confirmation) if confirmation else None,
            metrics=data["metrics"],
        )

    def recent_to_json(self) -> str:
        """This worker's own part."""
        return json.dumps(list(self.recent))
