"""Arguments of the command `lepton`, and which part of it they call."""

import argparse
from collections.abc import Sequence

EXAMPLES = """\
examples:
  lepton run job.yaml                      train a LeptonTrainingJob on this machine
  lepton run job.yaml --storage /data/run  keep checkpoints and the model there
  lepton version                           versions of lepton and of what it uses
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="lepton",
        description="Train agents: on this machine, or as a pod of a LeptonTrainingJob.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
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
    options = parser.parse_args(arguments)
    if options.command == "worker":
        from lepton.worker import main as worker

        return worker()
    if options.command == "run":
        from lepton.cli.run import run_manifest

        return run_manifest(options.manifest, options.storage)
    from lepton.cli.version import print_versions

    return print_versions()
