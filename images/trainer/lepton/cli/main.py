"""Arguments of the command `lepton`, and which part of it they call."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lepton.errors import InputError, LeptonError
from lepton.spec.trainer import DEFAULT_MAX_STEPS

EXAMPLES = """\
examples:
  lepton environments                      what there is to train in
  lepton train lepton/CartPole             train an agent; any Gymnasium id or my_module:MyEnv too
  lepton watch lepton-runs/CartPole-v1/model/agent.pth    look at it: agent.gif
  lepton run job.yaml                      train a LeptonTrainingJob on this machine
  lepton run job.yaml --storage /data/run  keep checkpoints and the model there
  lepton version                           versions of lepton and of what it uses
"""
EXIT_FAILED, EXIT_INVALID, EXIT_CTRL_C = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INVALID, f"error: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "worker":
        from lepton.worker import main as worker

        return worker()
    if options.command == "run":
        from lepton.cli.run import run_manifest

        return run_manifest(options.manifest, options.storage)
    if options.command == "train":
        return _told(lambda: _train(options))
    if options.command == "watch":
        return _told(lambda: _watch(options))
    if options.command == "environments":
        from lepton.cli.environments import print_environments

        return print_environments()
    from lepton.cli.version import print_versions

    return print_versions()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lepton",
        description="Train agents: on this machine, or as a pod of a LeptonTrainingJob.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    train = commands.add_parser(
        "train",
        help="train an agent in an environment",
        description="Train an agent on this machine and save it. Progress goes to stderr, the "
        "result to stdout. After Ctrl-C, the same command with --output goes on.",
    )
    _add_environment(train, "environment")
    train.add_argument(
        "--steps",
        type=_positive,
        default=DEFAULT_MAX_STEPS,
        metavar="N",
        help="steps of the environment in all, such as 200_000 or 1e6 (default: "
        f"{DEFAULT_MAX_STEPS:,})",
    )
    train.add_argument("--algorithm", metavar="NAME", help="such as PPO, the default")
    train.add_argument("--seed", type=_seed, default=0, metavar="S", help="default: 0")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter, such as learningRate=3e-4; can be repeated",
    )
    train.add_argument(
        "--count",
        type=_positive,
        metavar="N",
        help="copies of the environment that step together (default: what suits the algorithm)",
    )
    train.add_argument(
        "--output",
        metavar="DIR",
        help="folder for checkpoints and the model; a run that is there goes on (default: a new "
        "one in ./lepton-runs)",
    )
    watch = commands.add_parser(
        "watch",
        help="see a trained agent at work",
        description="Play episodes with a trained agent, and write what it looks like to a file.",
    )
    watch.add_argument("model", help="file that training saved, .pth or .safetensors")
    _add_environment(watch, "--environment", ", if not what the model was trained in")
    watch.add_argument(
        "--output", metavar="FILE", default="agent.gif", help=".gif or .mp4 (default: agent.gif)"
    )
    watch.add_argument("--episodes", type=_positive, default=1, metavar="N", help="default: 1")
    watch.add_argument("--seed", type=_seed, default=0, metavar="S", help="default: 0")
    commands.add_parser("environments", help="lepton's own environments")
    run = commands.add_parser(
        "run",
        help="train a LeptonTrainingJob on this machine, without Kubernetes",
        description="Train a LeptonTrainingJob on this machine and print the status that the "
        "operator would write. Progress goes to stderr, the status to stdout. Interrupted with "
        "Ctrl-C and run again, it goes on from its checkpoint.",
    )
    run.add_argument("manifest", help="YAML file with a LeptonTrainingJob; - reads stdin")
    run.add_argument(
        "--storage",
        metavar="DIR",
        help="folder for checkpoints and the model (default: ./lepton-runs/<name>)",
    )
    commands.add_parser(
        "worker",
        help="what a trainer pod runs; configured by environment variables",
        description="Run one pod's part of a training run that LEPTON_RUN describes.",
    )
    commands.add_parser("version", help="versions of lepton and of what it uses")
    return parser


def _add_environment(parser: argparse.ArgumentParser, argument: str, more: str = "") -> None:
    parser.add_argument(
        argument,
        metavar="ENVIRONMENT",
        help=f"lepton/<scenario>, any Gymnasium id, or package.module:Class{more}",
    )


def _positive(text: str) -> int:
    digits = text.replace("_", "").replace(",", "")
    try:
        number = int(digits) if digits.isdecimal() else float(digits)
    except ValueError:
        number = 0
    if not (1 <= number < math.inf and number % 1 == 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(number)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 2^32 - 1")
    return int(text)


def _train(options: argparse.Namespace) -> int:
    from lepton.cli.train import train

    return train(
        options.environment,
        options.steps,
        algorithm=options.algorithm,
        seed=options.seed,
        settings=options.set,
        copies=options.count,
        output=options.output,
    )


def _watch(options: argparse.Namespace) -> int:
    from lepton.cli.watch import watch

    return watch(options.model, options.environment, options.output, options.episodes, options.seed)


def _told(action: Callable[[], int]) -> int:
    """The exit code; errors that lepton raises on purpose are told in a line."""
    sys.path.insert(0, "")  # entry points lie where the command is given, as for python -m
    try:
        return action()
    except LeptonError as error:
        from lepton.reporting.last_word import error_report
        from lepton.reporting.reporter import REPORTER

        invalid = isinstance(error, InputError)
        report = error_report(error, invalid=invalid)
        REPORTER.write_last_word(report)
        where = f" ({report.where})" if report.where is not None else ""
        print(f"error: {' '.join(str(error).split())}{where}", file=sys.stderr)
        return EXIT_INVALID if invalid else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_CTRL_C
