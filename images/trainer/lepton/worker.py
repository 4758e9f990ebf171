"""`lepton worker`: what a trainer pod runs. Everything it needs comes from its environment.

LEPTON_RUN holds the run's configuration; WORLD_SIZE, MASTER_ADDR, MASTER_PORT, PET_NODE_RANK and
PET_NPROC_PER_NODE place this pod among its peers; LEPTON_PORT, LEPTON_STORAGE and
LEPTON_TERMINATION_LOG say where to serve, keep files and leave the last word.

Torch is imported late: the pod answers probes a moment after it starts.
"""

import os
import sys
import traceback
from typing import NoReturn

from pydantic import ValidationError

from lepton.errors import InputError, Interrupted, LeptonError, PeerLostError, TrainingError
from lepton.reporting.last_word import error_report, process_rank
from lepton.reporting.reporter import REPORTER
from lepton.spec.run import PORT_VARIABLE, RUN_VARIABLE, STORAGE_VARIABLE, RunConfiguration
from lepton.training.interruption import STOP

EXIT_FAILED = 1
EXIT_INVALID = 2


def main() -> int:
    """Run this pod's part of the training. Returns or exits with the process's exit code."""
    if "RANK" not in os.environ:
        processes = _local_processes()
        if processes > 1:
            from lepton.launcher import launch_local_ranks

            return launch_local_ranks(
                processes, node_rank=int(os.environ.get("PET_NODE_RANK", "0"))
            )
        os.environ["RANK"] = os.environ.get("PET_NODE_RANK", "0")
        os.environ.setdefault("WORLD_SIZE", os.environ.get("PET_NNODES", "1"))
    STOP.install()
    try:
        _serve()
        _train(_configuration())
    except Interrupted as interrupted:
        _exit(int(interrupted.code or 0))
    except BaseException as error:
        _exit(_explain(error))
    REPORTER.write_last_word()
    return 0


def _serve() -> None:
    try:
        REPORTER.start()
    except OSError as error:
        port = os.environ.get(PORT_VARIABLE)
        raise TrainingError(f"{PORT_VARIABLE}: can't serve on port {port}: {error}") from None


def _local_processes() -> int:
    text = os.environ.get("PET_NPROC_PER_NODE", "1")
    if text.isdigit():
        return int(text)
    import torch  # "gpu" or "auto"

    return max(1, torch.cuda.device_count())


def _configuration() -> RunConfiguration:
    text = os.environ.get(RUN_VARIABLE)
    if not text:
        raise InputError(
            f"{RUN_VARIABLE} is not set: the operator sets it; on your machine use `lepton run`"
        )
    try:
        return RunConfiguration.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors()
        )
        raise InputError(f"{RUN_VARIABLE} is invalid: {problems}") from None


def _train(run: RunConfiguration) -> None:
    # Before torch is imported: a wrong name or range costs no more than a moment.
    from lepton.spec.hyperparameters import validate_hyperparameters

    try:
        hyperparameters = validate_hyperparameters(run.agent.algorithm, run.agent.hyperparameters)
    except ValueError as error:
        raise InputError(str(error)) from None

    from lepton.agents.agent import Agent
    from lepton.distributed import join_group
    from lepton.environments.environment import Environment
    from lepton.training.tracking import trackers_of_the_environment
    from lepton.training.trainer import Trainer

    # First of all, so that a process that fails in what follows is missed by its peers at once.
    group = join_group()
    environment = Environment.from_spec(run.environment)
    agent = Agent(
        environment.action_space,
        algorithm=run.agent.algorithm,
        reward_threshold=run.agent.reward_threshold,
        hyperparameters=hyperparameters,
    )
    storage = os.environ.get(STORAGE_VARIABLE)
    if group.is_first:
        _say_what_runs(run, group.size, str(group.device), storage)
    Trainer(
        environment,
        agent,
        max_episodes=run.trainer.max_episodes,
        max_steps=run.trainer.step_limit,
        max_seconds=run.trainer.max_seconds,
        seed=run.trainer.seed,
        save_model=run.trainer.save_model and storage is not None,
        evaluation_episodes=run.evaluation.episodes,
        evaluate_every=run.evaluation.every_steps,
        storage=storage,
        checkpoint_every=run.checkpoint.every_seconds,
        keep_checkpoints=run.checkpoint.keep,
        resume_from=run.resume_from,
        synchronisation=run.trainer.synchronisation,
        trackers=trackers_of_the_environment(),
    ).train()


def _say_what_runs(run: RunConfiguration, size: int, device: str, storage: str | None) -> None:
    name = run.environment.name or run.environment.entry_point or "lepton/CartPole-v1"
    workers = f", {size} processes" if size > 1 else ""
    print(f"{run.job}: {run.agent.algorithm} on {name}, {device}{workers}", file=sys.stderr)
    visible = os.environ.get("NVIDIA_VISIBLE_DEVICES", "")
    if device == "cpu" and visible not in ("", "void", "none"):
        print("a GPU is assigned, but CUDA is not usable: training on the CPU", file=sys.stderr)
    if storage is None and run.trainer.save_model:
        print("the job has no storage: the model and checkpoints are not kept", file=sys.stderr)


def _explain(error: BaseException) -> int:
    """Tell people and the operator what went wrong; the exit code."""
    if isinstance(error, SystemExit) and error.code in (0, None):
        REPORTER.write_last_word()
        return 0
    invalid = isinstance(error, InputError)
    secondary = isinstance(error, PeerLostError)
    report = error_report(error, secondary=secondary, invalid=invalid)
    REPORTER.write_last_word(report)
    rank = f"rank {process_rank()}: " if os.environ.get("WORLD_SIZE", "1") != "1" else ""
    if isinstance(error, LeptonError):
        if error.__cause__ is not None and not secondary and not invalid:
            traceback.print_exception(error.__cause__)
        where = f" ({report.where})" if invalid and report.where is not None else ""
        print(f"{rank}error: {error}{where}", file=sys.stderr)
    else:
        traceback.print_exception(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_FAILED
    return EXIT_INVALID if invalid else EXIT_FAILED


def _exit(code: int) -> NoReturn:
    """End now: the threads of a broken process group may not be waited for."""
    REPORTER.write_last_word()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
