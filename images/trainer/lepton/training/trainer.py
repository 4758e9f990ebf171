"""Trainer: the loop of rollouts, updates, evaluations and checkpoints."""

import json
import random
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lepton
from lepton.agents.agent import Agent
from lepton.algorithms.ppo import PPO
from lepton.environments.environment import Environment
from lepton.environments.spaces import space_to_json
from lepton.errors import InputError, Interrupted
from lepton.reporting.reporter import REPORTER
from lepton.spec.hyperparameters import DEFAULT_ENVIRONMENTS
from lepton.spec.report import Evaluation, SavedModel
from lepton.spec.trainer import DEFAULT_MAX_STEPS, Synchronisation
from lepton.training.checkpoint import CheckpointFolder, from_bytes, read_checkpoint, to_bytes
from lepton.training.console import Console, duration
from lepton.training.distributed import join_group
from lepton.training.evaluation import Evaluator
from lepton.training.interruption import STOP
from lepton.training.processor import set_threads
from lepton.training.rollout import Collector, Episodes

RECENT_EPISODES = 100
"""Episodes over which rewards and lengths are averaged for progress."""
EVALUATIONS = 20
"""Evaluations in a run with a threshold, unless told how often."""
MAX_ROLLOUT_WAIT = 5.0
"""Seconds after SIGTERM for which a rollout may go on; then it is given up and made again."""
SEED_STRIDE = 1_000_003
"""Seeds of ranks and evaluations lie this far apart: environments of a batch use seed + row."""


@dataclass
class _Counters:
    """Where training stands, over all workers."""

    steps: int = 0
    episodes: int = 0
    evaluations: int = 0
    next_evaluation: int = 1
    reached: bool = False
    """An evaluation, and another on other episodes, reached the threshold."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training run ended with."""

    steps: int
    """Environment steps, over all workers."""
    episodes: int
    """Finished episodes, over all workers."""
    seconds: float
    """Wall time of this call."""
    evaluation: Evaluation
    """The final evaluation of the model that is kept."""
    model: SavedModel | None
    """The saved model, None when it was not to be saved."""
    metrics: dict[str, float]
    """The last update's metrics."""

    @property
    def steps_per_second(self) -> float:
        """Speed of this call, evaluations included."""
        return self.steps / max(self.seconds, 1e-9)


class Trainer:
    """Trains an agent in an environment.

    max_episodes, max_steps: limits, counted over all workers; training ends with the update that
        reaches one. Without either the limit is 1,000,000 steps. It ends earlier once the mean
        reward of an evaluation reaches the agent's reward_threshold.
    seed: of everything that is random. The same seed and size give the same run.
    save_model: write the model to `model/agent.pth` and `model/agent.safetensors` in storage.
    evaluation_episodes, evaluate_every: episodes of an evaluation, and steps between two; None
        means a twentieth of the limit with a threshold, and only at the end without.
    storage: folder for the model (default: the current one) and, only if given, for
        checkpoints, from which the next run with the same configuration goes on.
    checkpoint_every, keep_checkpoints: seconds between two checkpoints, and how many stay.
    resume_from: another run's folder, a folder of checkpoints or one of their files, to begin from
        while storage holds none of this run. Its counts go on.
    synchronisation: what data-parallel workers exchange, Gradients or Parameters.
    progress: show progress on stderr (default), or not.
    """

    def __init__(
        self,
        environment: Environment,
        agent: Agent,
        *,
        max_episodes: int | None = None,
        max_steps: int | None = None,
        seed: int = 0,
        save_model: bool = False,
        evaluation_episodes: int = 32,
        evaluate_every: int | None = None,
        storage: str | Path | None = None,
        checkpoint_every: float = 60.0,
        keep_checkpoints: int = 3,
        resume_from: str | Path | None = None,
        synchronisation: str | Synchronisation = Synchronisation.GRADIENTS,
        progress: bool = True,
    ) -> None:
        if agent.action_space != environment.action_space:
            raise InputError(
                f"the agent acts in {agent.action_space}, the environment takes "
                f"{environment.action_space}"
            )
        for name, value in {
            "max_episodes": max_episodes,
            "max_steps": max_steps,
            "evaluation_episodes": evaluation_episodes,
            "evaluate_every": evaluate_every,
            "keep_checkpoints": keep_checkpoints,
        }.items():
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        self.environment = environment
        self.agent = agent
        self.max_episodes = max_episodes
        self.max_steps = (
            DEFAULT_MAX_STEPS if max_steps is None and max_episodes is None else max_steps
        )
        self.seed = seed
        self._saves_model = save_model
        self._evaluation_episodes = evaluation_episodes
        self._evaluate_every = evaluate_every
        self._storage = Path(storage) if storage is not None else None
        self._checkpoint_every = checkpoint_every
        self._keep_checkpoints = keep_checkpoints
        self._resume_from = Path(resume_from) if resume_from is not None else None
        self._synchronisation = Synchronisation(synchronisation)
        self._console = Console(progress)
        self._counters = _Counters()
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT_EPISODES)
        self._best: tuple[float, dict[str, Tensor]] | None = None
        self._confirmation: Evaluation | None = None
        self._metrics: dict[str, float] = {}
        self._evaluator: Evaluator | None = None
        agent.bind(environment.observation_space, seed)

    # The loop ------------------------------------------------------------------------------

    def train(self) -> TrainingResult:
        """Train until a limit or the threshold is reached; the agent then holds the best model.

        Raises InputError, NonFiniteError, PeerLostError, and Interrupted (which ends the process
        with 143) after SIGTERM.
        """
        self._group = join_group()
        STOP.install()
        with STOP.graceful():
            try:
                return self._train()
            finally:
                self._close()

    def _train(self) -> TrainingResult:
        begin = time.monotonic()
        self._prepare()
        self._resume()
        self._last_checkpoint = time.monotonic()
        while not self._is_done():
            before = self._local_state()
            try:
                rollout, episodes = self._collector.collect(self._check_interruption)
            except _RolloutAbandoned:
                self._save_checkpoint_alone(before)
                raise self._interrupted() from None
            self._metrics = self._learner.learn(rollout, self._share_done())
            stop, checkpoint = self._count(episodes)
            if self._evaluation_is_due():
                self._evaluate_and_keep_best()
            self._tell()
            if stop or checkpoint:
                self._save_checkpoint()
            if stop:
                raise self._interrupted()
        return self._finish(time.monotonic() - begin)

    def evaluate(self) -> Evaluation:
        """Evaluate the greedy policy on `evaluation_episodes` new episodes."""
        evaluation = self._evaluate(seed_index=self._counters.evaluations + 1)
        self._console.say(_evaluation_line(evaluation))
        return evaluation

    # Its parts -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        group, agent = self._group, self.agent
        REPORTER.start()
        agent.network.to(group.device)
        set_threads(agent.network)
        rank_seed = (self.seed + group.rank * SEED_STRIDE) % 2**32
        # For what users bring: environments and layers that use the global generators.
        random.seed(rank_seed)
        np.random.seed(rank_seed)
        torch.manual_seed(rank_seed)
        count = self.environment.count or DEFAULT_ENVIRONMENTS
        self._environments = self.environment.make_batch(count)
        self._collector = Collector(
            self._environments,
            agent,
            agent.hyperparameters.horizon,
            seed=rank_seed,
            environment_seed=rank_seed,
            device=group.device,
        )
        self._learner = PPO(
            agent.network,
            agent.hyperparameters,
            seed=rank_seed,
            group=group,
            synchronisation=self._synchronisation,
        )
        # The first process's storage is what counts: the others don't write.
        stores = torch.tensor(float(self._storage is not None), device=group.device)
        self._checkpoints = (
            CheckpointFolder((self._storage or Path()) / "checkpoints", self._keep_checkpoints)
            if group.share(stores) > 0
            else None
        )
        REPORTER.update(
            self._counters.steps, self.max_steps, self._counters.episodes, self.max_episodes
        )

    def _is_done(self) -> bool:
        return self._share_done() >= 1.0 or self._counters.reached

    def _share_done(self) -> float:
        counters = self._counters
        shares = [0.0]
        if self.max_steps is not None:
            shares.append(counters.steps / self.max_steps)
        if self.max_episodes is not None:
            shares.append(counters.episodes / self.max_episodes)
        return max(shares)

    def _count(self, episodes: Episodes) -> tuple[bool, bool]:
        """Add up what all workers did, and agree whether to stop and whether to checkpoint."""
        self._recent.extend(zip(episodes.scores, episodes.lengths, strict=True))
        since = time.monotonic() - self._last_checkpoint
        mine = [
            episodes.steps,
            len(episodes.scores),
            len(self._recent),
            sum(reward for reward, _ in self._recent),
            sum(length for _, length in self._recent),
            STOP.requested,
            self._group.is_first and since >= self._checkpoint_every,
        ]
        totals = torch.tensor(mine, dtype=torch.float64, device=self._group.device)
        steps, ended, recent, rewards, lengths, stop, checkpoint = self._group.sum(totals).tolist()
        self._counters.steps += int(steps)
        self._counters.episodes += int(ended)
        if recent:
            self._metrics |= {
                "episode_reward_mean": rewards / recent,
                "episode_length_mean": lengths / recent,
            }
        return stop > 0, checkpoint > 0

    def _check_interruption(self) -> None:
        if STOP.requested and STOP.age > MAX_ROLLOUT_WAIT:
            raise _RolloutAbandoned

    def _evaluation_is_due(self) -> bool:
        counters = self._counters
        if self._evaluate_every is not None:
            due = counters.steps >= counters.next_evaluation * self._evaluate_every
            passed = counters.steps // self._evaluate_every
        elif self.agent.reward_threshold is not None:
            passed = int(self._share_done() * EVALUATIONS)
            due = passed >= counters.next_evaluation
        else:
            return False
        if due:
            counters.next_evaluation = passed + 1
        return due

    def _evaluate_and_keep_best(self) -> None:
        """Evaluate; what reaches the threshold must do so again on other episodes, since the best
        of many evaluations flatters."""
        counters = self._counters
        evaluation = self._evaluate_together()
        if self._best is None or evaluation.reward_mean > self._best[0]:
            state = {n: t.detach().clone() for n, t in self.agent.network.state_dict().items()}
            self._best = (evaluation.reward_mean, state)
        if evaluation.passed:
            confirmation = self._evaluate_together()
            counters.reached = bool(confirmation.passed)
            if counters.reached:
                self._confirmation = confirmation
                self._best = None
        self._metrics["evaluation_reward_mean"] = evaluation.reward_mean

    def _evaluate_together(self) -> Evaluation:
        """The first process evaluates; all learn the result, since decisions depend on it."""
        self._counters.evaluations += 1
        data: bytes | None = None
        if self._group.is_first:
            data = self._evaluate(self._counters.evaluations).to_json().encode()
        return Evaluation.model_validate_json(self._group.share_bytes(data))

    def _evaluate(self, seed_index: int) -> Evaluation:
        if self._evaluator is None:
            self._evaluator = Evaluator(self.environment, self.agent, self._evaluation_episodes)
        # Far from the seeds of training, for every rank.
        seed = (2**31 + self.seed + seed_index * SEED_STRIDE) % 2**32
        return self._evaluator.evaluate(seed)

    def _tell(self) -> None:
        counters = self._counters
        ordered = ("episode_reward_mean", "evaluation_reward_mean", "episode_length_mean")
        metrics = {n: self._metrics[n] for n in ordered if n in self._metrics} | self._metrics
        REPORTER.update(counters.steps, None, counters.episodes, None, None, metrics)
        if self._group.is_first:
            self._console.progress(REPORTER.progress())

    def _finish(self, seconds: float) -> TrainingResult:
        counters = self._counters
        if self._checkpoints is not None:
            self._save_checkpoint()
        if self._best is not None:
            self.agent.network.load_state_dict(self._best[1])
        evaluation = self._confirmation or self._evaluate_together()
        model = self._save_model() if self._saves_model and self._group.is_first else None
        self._metrics["evaluation_reward_mean"] = evaluation.reward_mean
        REPORTER.evaluation, REPORTER.model = evaluation, model
        self._tell()
        result = TrainingResult(
            counters.steps, counters.episodes, seconds, evaluation, model, dict(self._metrics)
        )
        if self._group.is_first:
            self._console.say(
                f"trained {counters.steps:,} steps, {counters.episodes:,} episodes in "
                f"{duration(seconds)}: {_evaluation_line(evaluation)}"
            )
            if model is not None:
                self._console.say(f"model: {(self._storage or Path()) / model.path}")
        return result

    def _save_model(self) -> SavedModel:
        folder = self._storage or Path()
        path = Path("model/agent.pth")
        digest = self.agent.save_model(folder / path)
        self.agent.save_model((folder / path).with_suffix(".safetensors"))
        return SavedModel(path=str(path), sha256=digest, formats=["pth", "safetensors"])

    def _interrupted(self) -> Interrupted:
        text = f"stopped by SIGTERM at step {self._counters.steps:,}"
        if self._checkpoints is not None:
            text += "; the next run goes on from its checkpoint"
        if self._group.is_first:
            self._console.say(text)
        return Interrupted(text)

    def _close(self) -> None:
        if hasattr(self, "_environments"):
            self._environments.close()
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None
        self._group.close()

    # Checkpoints ---------------------------------------------------------------------------

    def _configuration(self) -> dict[str, Any]:
        """What must be the same in the run that goes on."""
        agent = self.agent
        assert agent.observation_space is not None
        return {
            "environment": self.environment.name,
            "count": self.environment.count or DEFAULT_ENVIRONMENTS,
            "algorithm": agent.algorithm.value,
            "hyperparameters": agent.hyperparameters.model_dump(mode="json", by_alias=True),
            "observationSpace": space_to_json(agent.observation_space),
            "actionSpace": space_to_json(agent.action_space),
            "seed": self.seed,
        }

    def _local_state(self) -> dict[str, Any]:
        """What differs between workers. Cheap, since it is taken before every rollout."""
        return {
            "collector": self._collector.state(),
            "learner": self._learner.worker_state(),
            "recent_rewards": [reward for reward, _ in self._recent],
            "recent_lengths": [length for _, length in self._recent],
            "torch": torch.get_rng_state(),
            "numpy": _numpy_state(),
            "python": json.dumps(random.getstate()),
        }

    def _save_checkpoint(self) -> None:
        """All workers' states in one file, which the first writes."""
        if self._checkpoints is None:
            return
        workers = self._group.collect_bytes(to_bytes(self._local_state()))
        if self._group.is_first:
            self._write_checkpoint(workers)
        self._last_checkpoint = time.monotonic()

    def _save_checkpoint_alone(self, state: dict[str, Any]) -> None:
        """Without the other workers: only when there are none."""
        if self._checkpoints is not None and self._group.size == 1:
            self._write_checkpoint([to_bytes(state)])

    def _write_checkpoint(self, workers: list[bytes]) -> None:
        assert self._checkpoints is not None
        counters = self._counters
        confirmation = self._confirmation
        state = {
            "lepton": json.dumps(
                {
                    "format": 1,
                    "madeBy": f"lepton {lepton.__version__}",
                    "configuration": self._configuration(),
                    "counters": vars(counters),
                    "confirmation": confirmation.to_json() if confirmation else None,
                    "metrics": self._metrics,
                }
            ),
            "network": self.agent.network.state_dict(),
            "learner": self._learner.state(),
            "best": None if self._best is None else [self._best[0], self._best[1]],
            "workers": [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in workers],
        }
        self._checkpoints.write(counters.steps, to_bytes(state))

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        if self._checkpoints is None and self._resume_from is None:
            return
        group = self._group
        data = group.share_bytes(self._newest_checkpoint() if group.is_first else None)
        if not data:
            return
        state = from_bytes(data)
        header = json.loads(state["lepton"])
        self._refuse_other_configuration(header["configuration"])
        self._counters = _Counters(**header["counters"])
        self._metrics = header["metrics"]
        if header["confirmation"]:
            self._confirmation = Evaluation.model_validate_json(header["confirmation"])
        self.agent.network.load_state_dict(state["network"])
        if state["best"] is not None:
            self._best = (state["best"][0], state["best"][1])
        workers = state["workers"]
        exact = len(workers) == group.size and self._collector.continues_exactly
        mine: dict[str, Any] | None = None
        if group.rank < len(workers):
            mine = from_bytes(workers[group.rank].numpy().tobytes())
        self._learner.restore(state["learner"], mine["learner"] if mine else None)
        if mine is not None:
            fresh_seed = (self.seed + group.rank * SEED_STRIDE + self._counters.steps) % 2**32
            self._collector.restore(mine["collector"], fresh_seed)
            pairs = zip(mine["recent_rewards"], mine["recent_lengths"], strict=True)
            self._recent.extend(pairs)
            torch.set_rng_state(mine["torch"])
            _restore_numpy(mine["numpy"])
            version, numbers, gauss = json.loads(mine["python"])
            random.setstate((version, tuple(numbers), gauss))
        if group.is_first:
            how = "" if exact else " (environments begin new episodes)"
            self._console.say(f"resumed from the checkpoint at step {self._counters.steps:,}{how}")
        self._tell()

    def _newest_checkpoint(self) -> bytes:
        """This run's own, or else the one to begin from; empty for neither."""
        own = self._checkpoints.read_newest() if self._checkpoints is not None else None
        if own is not None or self._resume_from is None:
            return own or b""
        other = read_checkpoint(self._resume_from)
        if other is None:
            raise InputError(f"there is no checkpoint to resume from in {self._resume_from}")
        return other

    def _refuse_other_configuration(self, theirs: dict[str, Any]) -> None:
        ours = self._configuration()
        different = [name for name in ours if ours[name] != theirs.get(name)]
        if different:
            places = [str(place) for place in (self._storage, self._resume_from) if place]
            raise InputError(
                f"the checkpoints in {' or '.join(places)} are of another run (different: "
                f"{', '.join(different)}); use another storage, or delete them"
            )


class _RolloutAbandoned(Exception):  # noqa: N818
    """The process has to end sooner than the rollout would."""


def _evaluation_line(evaluation: Evaluation) -> str:
    text = (
        f"mean reward {evaluation.reward_mean:.1f} ± {evaluation.reward_standard_deviation:.1f} "
        f"over {evaluation.episodes} episodes"
    )
    if evaluation.threshold is not None:
        verdict = "reached" if evaluation.passed else "not reached"
        text += f", threshold {evaluation.threshold:g} {verdict}"
    return text


def _numpy_state() -> dict[str, Any]:
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    # As int64: not every reader knows unsigned 32-bit tensors.
    numbers = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return {
        "kind": str(kind),
        "keys": numbers,
        "position": int(position),
        "has_gauss": int(has_gauss),
        "cached": float(cached),
    }


def _restore_numpy(state: dict[str, Any]) -> None:
    keys = state["keys"].numpy().astype(np.uint32)
    np.random.set_state(
        (state["kind"], keys, state["position"], state["has_gauss"], state["cached"])
    )
