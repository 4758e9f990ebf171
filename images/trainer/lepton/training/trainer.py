"""Trainer: the loop of rollouts, updates, evaluations and checkpoints."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lepton.agents.agent import Agent
from lepton.agents.files import make_folder, save_in_all_formats
from lepton.algorithms import make_learner
from lepton.algorithms.learner import Workplace
from lepton.checks import LARGEST_SEED, choice, finite, whole
from lepton.distributed import join_group
from lepton.environments.environment import Environment
from lepton.errors import InputError, Interrupted
from lepton.reporting.reporter import REPORTER
from lepton.spec.report import Evaluation, SavedModel
from lepton.spec.trainer import DEFAULT_MAX_STEPS, Synchronisation
from lepton.training.checkpoint import CheckpointFolder
from lepton.training.collect import make_collector
from lepton.training.collector import Episodes
from lepton.training.console import Console, duration
from lepton.training.evaluation import Evaluator
from lepton.training.generators import generators_state, restore_generators, seed_generators
from lepton.training.interruption import STOP
from lepton.training.processor import set_threads
from lepton.training.record import Record
from lepton.training.resumption import Resumption, run_configuration
from lepton.training.tracking import Tracker, Tracking, check_trackers

EVALUATIONS = 20
"""Evaluations in a run with a threshold, unless told how often."""
MAX_WAIT = 5.0
"""Seconds after SIGTERM for which a rollout or an evaluation may go on; then it is given up, and
made again by the run that goes on."""
SLOW_ROLLOUT = 0.5
"""Seconds from which on a rollout is thought able to outlast that wait."""
CHECKPOINTS, MODEL = "checkpoints", "model/agent.pth"
"""Where they lie in the storage."""
SEED_STRIDE = 1_000_003
"""Seeds of ranks and evaluations lie this far apart: environments of a batch use seed + row."""


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

    max_episodes, max_steps, max_seconds: limits; training ends with the update that reaches one.
        Episodes and steps are counted over all workers, seconds by the first one's clock. Without
        any the limit is 1,000,000 steps. It ends earlier once the mean reward of an evaluation
        reaches the agent's reward_threshold.
    seed: of everything that is random. The same seed and size give the same run.
    save_model: write the model to `model/agent.pth`, `.safetensors` and `.onnx` in storage.
    evaluation_episodes, evaluate_every: episodes of an evaluation, and steps between two; None
        means a twentieth of the limit with a threshold, and only at the end without.
    storage: folder for the model (default: the current one) and, only if given, for
        checkpoints, from which the next run with the same configuration goes on.
    checkpoint_every, keep_checkpoints: seconds between two checkpoints, and how many stay.
    resume_from: another run's folder, a folder of checkpoints or one of their files, to begin from
        while storage holds none of this run. Its counts go on.
    synchronisation: what data-parallel workers exchange, Gradients or Parameters.
    progress: show progress on stderr (default), or not, or as this Console does.
    trackers: where metrics go as well: "tensorboard" (to TENSORBOARD_LOGGING_DIR, or `tensorboard`
        in storage), "mlflow" (to MLFLOW_TRACKING_URI), or objects with a method
        `log(step, values)`, which is called in another thread.
    """

    def __init__(
        self,
        environment: Environment,
        agent: Agent,
        *,
        max_episodes: int | None = None,
        max_steps: int | None = None,
        max_seconds: float | None = None,
        seed: int = 0,
        save_model: bool = False,
        evaluation_episodes: int = 32,
        evaluate_every: int | None = None,
        storage: str | Path | None = None,
        checkpoint_every: float = 60.0,
        keep_checkpoints: int = 3,
        resume_from: str | Path | None = None,
        synchronisation: str | Synchronisation = Synchronisation.GRADIENTS,
        progress: bool | Console = True,
        trackers: Sequence[str | Tracker] = (),
    ) -> None:
        for name, given, kind in (
            ("environment", environment, Environment),
            ("agent", agent, Agent),
        ):
            if not isinstance(given, kind):
                raise InputError(
                    f"{name} must be a lepton.{kind.__name__}, not {type(given).__name__}"
                )
        if agent.action_space != environment.action_space:
            raise InputError(
                f"the agent acts in {agent.action_space}, the environment takes "
                f"{environment.action_space}"
            )
        self.environment = environment
        self.agent = agent
        self.max_episodes = _whole_or_none("max_episodes", max_episodes)
        self.max_seconds = None if max_seconds is None else finite("max_seconds", max_seconds)
        if self.max_seconds is not None and self.max_seconds <= 0:
            raise InputError(f"max_seconds must be more than 0, not {max_seconds}")
        no_limit = max_steps is None and max_episodes is None and max_seconds is None
        self.max_steps = DEFAULT_MAX_STEPS if no_limit else _whole_or_none("max_steps", max_steps)
        self.seed = whole("seed", seed, least=0, most=LARGEST_SEED)
        self._saves_model = save_model
        self._evaluation_episodes = whole("evaluation_episodes", evaluation_episodes)
        self._evaluate_every = _whole_or_none("evaluate_every", evaluate_every)
        self._storage = Path(storage) if storage is not None else None
        self._checkpoint_every = finite("checkpoint_every", checkpoint_every)
        if self._checkpoint_every < 0:
            raise InputError(f"checkpoint_every must be 0 or more, not {checkpoint_every}")
        self._keep_checkpoints = whole("keep_checkpoints", keep_checkpoints)
        self._resume_from = Path(resume_from) if resume_from is not None else None
        self._synchronisation = choice("synchronisation", Synchronisation, synchronisation)
        self._console = progress if isinstance(progress, Console) else Console(progress)
        check_trackers(trackers)
        self._trackers = trackers
        self._record = Record()
        self._resumption: Resumption | None = None
        self._evaluator: Evaluator | None = None
        agent.bind(environment.observation_space, self.seed)
        agent.environment = environment.description()

    # The loop ------------------------------------------------------------------------------

    def train(self) -> TrainingResult:
        """Train until a limit or the threshold is reached; the agent then holds the best model.

        Raises InputError, NonFiniteError, PeerLostError, and Interrupted (which ends the process
        with 143) after SIGTERM.
        """
        self._group = join_group(self.environment.device)
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
        self._last_checkpoint = self._last_count = time.monotonic()
        slow = True  # until it is known
        while not self._is_done():
            # To go back to, should the rollout be given up.
            before = None
            if slow and self._resumption is not None:
                before = self._resumption.worker_state(self._record)
            rollout_begin = time.monotonic()
            try:
                rollout, episodes = self._collector.collect(self._check_interruption)
            except _Abandoned:
                if self._resumption is not None and before is not None:
                    self._resumption.save_alone(self._record, before)
                raise self._interrupted() from None
            slow = time.monotonic() - rollout_begin > SLOW_ROLLOUT
            self._record.metrics = self._learner.learn(rollout, self._share_done())
            self._round_off(*self._count(episodes))
        return self._finish(time.monotonic() - begin)

    def evaluate(self) -> Evaluation:
        """Evaluate the greedy policy on `evaluation_episodes` new episodes."""
        evaluation = self._evaluate(seed_index=self._record.counters.evaluations + 1)
        self._console.say(_evaluation_line(evaluation))
        return evaluation

    # Its parts -----------------------------------------------------------------------------

    def _prepare(self) -> None:
        group, agent = self._group, self.agent
        REPORTER.start()
        if group.is_first:
            self._make_folders()
        agent.network.to(group.device)
        set_threads(agent.network)
        rank_seed = (self.seed + group.rank * SEED_STRIDE) % 2**32
        seed_generators(rank_seed)
        count = self.environment.count or agent.hyperparameters.environments
        configuration = run_configuration(self.environment, count, agent, self.seed)
        storage = self._storage or Path()
        if group.is_first:
            self._tracking = Tracking(self._trackers, storage, configuration)
        workplace = Workplace(count, rank_seed, group, self._synchronisation)
        self._learner = make_learner(
            agent.algorithm, agent.network, agent.hyperparameters, workplace
        )
        self._collector = make_collector(
            self.environment, count, agent, self._learner, rank_seed, group.device
        )
        # What the first process has is what counts: the others neither read nor write.
        has = [self._storage is not None, self._resume_from is not None]
        stores, resumes = group.share(torch.tensor(has, device=group.device)).tolist()
        if stores or resumes:
            folder = CheckpointFolder(storage / CHECKPOINTS, self._keep_checkpoints)
            self._resumption = Resumption(
                folder if stores else None,
                self._resume_from,
                configuration,
                group,
                agent,
                self._learner,
                self._collector,
            )
        counters = self._record.counters
        REPORTER.update(counters.steps, self.max_steps, counters.episodes, self.max_episodes)

    def _make_folders(self) -> None:
        """An unusable storage is told before training, not with the model lost."""
        storage = self._storage or Path()
        if self._saves_model:
            make_folder((storage / MODEL).parent, "the model")
        if self._storage is not None:
            make_folder(storage / CHECKPOINTS, "checkpoints")

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        fresh_seed = self.seed + self._group.rank * SEED_STRIDE
        found = self._resumption.restore(fresh_seed) if self._resumption else None
        if found is None:
            return
        self._record, exact = found
        counters = self._record.counters
        # With a higher limit, fewer evaluations are behind us than there were.
        counters.next_evaluation = min(counters.next_evaluation, self._evaluations_passed() + 1)
        if self._group.is_first:
            how = "" if exact else " (environments begin new episodes)"
            self._console.say(f"resumed from the checkpoint at step {counters.steps:,}{how}")
        # Its evaluation may have been given up.
        self._round_off(stop=False, checkpoint=False)

    def _is_done(self) -> bool:
        return self._share_done() >= 1.0 or self._record.counters.reached

    def _share_done(self) -> float:
        counters = self._record.counters
        shares = [0.0]
        if self.max_steps is not None:
            shares.append(counters.steps / self.max_steps)
        if self.max_episodes is not None:
            shares.append(counters.episodes / self.max_episodes)
        if self.max_seconds is not None:
            shares.append(counters.seconds / self.max_seconds)
        return max(shares)

    def _count(self, episodes: Episodes) -> tuple[bool, bool]:
        """Add up what all workers did, and agree whether to stop and whether to checkpoint."""
        record, counters = self._record, self._record.counters
        record.recent.extend(zip(episodes.scores, episodes.lengths, strict=True))
        now = time.monotonic()
        spent, self._last_count = now - self._last_count, now
        first, since = self._group.is_first, now - self._last_checkpoint
        mine = [
            episodes.steps,
            len(episodes.scores),
            len(record.recent),
            sum(score for score, _ in record.recent),
            sum(length for _, length in record.recent),
            STOP.requested,
            first and since >= self._checkpoint_every,
            spent if first else 0.0,
        ]
        totals = torch.tensor(mine, dtype=torch.float64, device=self._group.device)
        sums = self._group.sum(totals).tolist()
        steps, ended, recent, scores, lengths, stop, checkpoint, seconds = sums
        counters.steps += int(steps)
        counters.episodes += int(ended)
        counters.seconds += seconds
        if recent:
            record.metrics |= {
                "episode_reward_mean": scores / recent,
                "episode_length_mean": lengths / recent,
            }
        return stop > 0, checkpoint > 0

    def _check_interruption(self) -> None:
        if STOP.requested and STOP.age > MAX_WAIT:
            raise _Abandoned

    def _round_off(self, stop: bool, checkpoint: bool) -> None:
        """What follows upon an update: evaluate if it is time, tell, write a checkpoint if asked
        to, and stop if asked to. An evaluation that is given up leaves no trace."""
        record = self._record
        if (passed := self._evaluations_passed()) >= record.counters.next_evaluation:
            counters, best, generators = replace(record.counters), record.best, generators_state()
            record.counters.next_evaluation = passed + 1
            try:
                self._evaluate_and_keep_best()
                asked = torch.tensor([float(STOP.requested)], device=self._group.device)
                stop = stop or bool(self._group.sum(asked) > 0)  # it may have taken long
            except _Abandoned:
                record.counters, record.best = counters, best
                restore_generators(generators)
                stop = True
        self._tell()
        if stop or checkpoint:
            self._save_checkpoint()
        if stop:
            raise self._interrupted()

    def _evaluations_passed(self) -> int:
        """How many evaluations are due before this step, or at it."""
        if self._evaluate_every is not None:
            return self._record.counters.steps // self._evaluate_every
        if self.agent.reward_threshold is not None:
            return int(self._share_done() * EVALUATIONS)
        return 0

    def _evaluate_and_keep_best(self) -> None:
        """Evaluate; what reaches the threshold must do so again on other episodes, since the best
        of many evaluations flatters."""
        record = self._record
        evaluation = self._evaluate_together()
        record.note_evaluation(evaluation, self.agent.network)
        if evaluation.passed:
            confirmation = self._evaluate_together()
            record.counters.reached = bool(confirmation.passed)
            if record.counters.reached:
                record.confirmation = confirmation
                record.best = None
        record.metrics["evaluation_reward_mean"] = evaluation.reward_mean

    def _evaluate_together(self) -> Evaluation:
        """The first process evaluates; all learn the result, since decisions depend on it.
        Raises _Abandoned in all of them when the first has to end."""
        counters = self._record.counters
        counters.evaluations += 1
        data = b""
        if self._group.is_first:
            with suppress(_Abandoned):
                evaluation = self._evaluate(counters.evaluations, self._check_interruption)
                self._tracking.evaluation(counters.steps, evaluation)
                data = evaluation.to_json().encode()
        data = self._group.share_bytes(data)
        if not data:
            raise _Abandoned
        return Evaluation.model_validate_json(data)

    def _evaluate(self, seed_index: int, check: Callable[[], None] = lambda: None) -> Evaluation:
        if self._evaluator is None:
            self._evaluator = Evaluator(self.environment, self.agent, self._evaluation_episodes)
        # Far from the seeds of training, for every rank.
        seed = (2**31 + self.seed + seed_index * SEED_STRIDE) % 2**32
        return self._evaluator.evaluate(seed, check)

    def _tell(self) -> None:
        counters, found = self._record.counters, self._record.metrics
        ordered = ("episode_reward_mean", "evaluation_reward_mean", "episode_length_mean")
        metrics = {n: found[n] for n in ordered if n in found} | found
        done = min(1.0, self._share_done()) if self.max_seconds is not None else None
        REPORTER.update(counters.steps, episodes=counters.episodes, done=done, metrics=metrics)
        if self._group.is_first:
            progress = REPORTER.progress()
            self._console.progress(progress)
            self._tracking.progress(progress)

    def _finish(self, seconds: float) -> TrainingResult:
        record, counters = self._record, self._record.counters
        self._save_checkpoint()
        if record.best is not None:
            self.agent.network.load_state_dict(record.best.network)
        try:
            evaluation = record.confirmation or self._evaluate_together()
        except _Abandoned:
            raise self._interrupted() from None
        model = self._save_model() if self._saves_model and self._group.is_first else None
        record.metrics["evaluation_reward_mean"] = evaluation.reward_mean
        REPORTER.evaluation, REPORTER.model = evaluation, model
        self._tell()
        result = TrainingResult(
            counters.steps, counters.episodes, seconds, evaluation, model, dict(record.metrics)
        )
        if self._group.is_first:
            self._console.say(
                f"trained {counters.steps:,} steps, {counters.episodes:,} episodes in "
                f"{duration(seconds)}: {_evaluation_line(evaluation)}"
            )
            if model is not None:
                self._console.say(f"model: {(self._storage or Path()) / model.path}")
            self._tracking.close(None)
        return result

    def _save_model(self) -> SavedModel:
        digest, formats = save_in_all_formats(
            self.agent.save_model, (self._storage or Path()) / MODEL
        )
        return SavedModel(path=MODEL, sha256=digest, formats=formats)

    def _save_checkpoint(self) -> None:
        if self._resumption is not None:
            self._resumption.save(self._record)
            self._last_checkpoint = time.monotonic()

    def _interrupted(self) -> Interrupted:
        text = f"stopped by SIGTERM at step {self._record.counters.steps:,}"
        if self._resumption is not None and self._resumption.keeps:
            text += "; the next run goes on from its checkpoint"
        if self._group.is_first:
            self._console.say(text)
        return Interrupted(text)

    def _close(self) -> None:
        error = sys.exc_info()[1]
        # First of all: from here on, others neither wait for this process nor miss it.
        self._group.close(failed=error is not None and not isinstance(error, Interrupted))
        if hasattr(self, "_tracking"):
            self._tracking.close(error)
        if hasattr(self, "_collector"):
            self._collector.close()
        if self._evaluator is not None:
            self._evaluator.close()
            self._evaluator = None


class _Abandoned(Exception):  # noqa: N818
    """The process has to end sooner than the rollout or the evaluation would."""


def _whole_or_none(name: str, value: object) -> int | None:
    return None if value is None else whole(name, value)


def _evaluation_line(evaluation: Evaluation) -> str:
    text = (
        f"mean reward {evaluation.reward_mean:.1f} ± {evaluation.reward_standard_deviation:.1f} "
        f"over {evaluation.episodes} episodes"
    )
    if evaluation.threshold is not None:
        verdict = "reached" if evaluation.passed else "not reached"
        text += f", threshold {evaluation.threshold:g} {verdict}"
    return text
