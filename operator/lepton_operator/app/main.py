"""`lepton-operator`: the command line."""

import argparse
import asyncio
import gc
import sys
from importlib.metadata import version

from lepton_operator.app import options

SWITCH_SECONDS = 0.0005
"""For how long kopf's thread may keep the event loop waiting whenever that comes back from reading
or writing, which it does dozens of times a request; Python's own choice is ten times as long."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="lepton-operator", description="The operator of LeptonTrainingJob."
    )
    parser.add_argument("--version", action="version", version=version("lepton-training"))
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="run the operator, in the cluster or outside it with KUBECONFIG"
    )
    options.add_arguments(run)
    return _run(options.from_arguments(parser.parse_args(arguments)))


def _run(chosen: options.Options) -> int:
    import uvloop

    from lepton_operator.app import garbage, logs
    from lepton_operator.app.controller import run
    from lepton_operator.engine.client import ApiError

    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(garbage.YOUNG)
    logs.configure(chosen.log_format, chosen.log_level)
    try:
        return uvloop.run(run(chosen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except ApiError as error:
        print(f"lepton-operator: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
