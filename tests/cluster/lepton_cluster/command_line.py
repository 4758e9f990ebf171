"""The commands: build, up, down, status, nodes, push, clean-cache."""

import argparse
import json
import signal
import subprocess
import sys
from http.client import HTTPException

from . import build, lifecycle, packages, registry
from .errors import ClusterError
from .layout import Layout, cache_root, default_layout
from .progress import Progress


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python3 tests/cluster",
        description="A real Kubernetes for development and tests, in this checkout's .cluster/.",
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("build", help="build or find in the cache what the cluster needs")
    up = commands.add_parser("up", help="start the cluster, building first if needed")
    up.add_argument("--nodes", type=_count, metavar="N", help="have N kwok nodes besides")
    down = commands.add_parser("down", help="stop the cluster and check that nothing is left")
    down.add_argument("--purge", action="store_true", help="remove images and logs as well")
    status = commands.add_parser("status", help="what runs, where, since when")
    status.add_argument("--json", action="store_true", help="for programs")
    nodes = commands.add_parser("nodes", help="have exactly N kwok nodes")
    nodes.add_argument("count", type=_count, metavar="N")
    push = commands.add_parser("push", help="copy images from buildah or docker to the cluster")
    push.add_argument("images", nargs="+", metavar="IMAGE", help="localhost/lepton/trainer:dev")
    push.add_argument("--quiet", action="store_true", help="print only the images by digest")
    commands.add_parser("clean-cache", help="remove all builds that no running cluster uses")
    return main


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 10000:
        raise argparse.ArgumentTypeError("must be between 0 and 10000")
    return number


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    # `status | head` is not an error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return _run(options, default_layout(), Progress(getattr(options, "quiet", False)))
    except ClusterError as error:
        print(f"error: {error.report()}", file=sys.stderr)
        return 1
    except (OSError, HTTPException, subprocess.SubprocessError) as error:
        # What no step foresaw: a full disk, say, or an API server that just died.
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"All logs are in {default_layout().log}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted. `make cluster-down` removes what was started.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, layout: Layout, progress: Progress) -> int:
    match options.command:
        case "build":
            packages.ensure(progress)
            print(build.ensure(progress))
        case "up":
            with lifecycle.exclusively(layout):
                lifecycle.up(layout, progress)
                if options.nodes is not None:
                    lifecycle.set_fake_nodes(layout, progress, options.nodes)
            print(f"export KUBECONFIG={layout.kubeconfig} PATH={layout.bin}:$PATH")
        case "down":
            with lifecycle.exclusively(layout):
                lifecycle.down(layout, progress, options.purge)
        case "nodes":
            with lifecycle.exclusively(layout):
                lifecycle.set_fake_nodes(layout, progress, options.count)
        case "push":
            init, facts = lifecycle.running(layout)
            for image in options.images:
                print(registry.push(layout, progress, init, facts.node_address, image))
        case "status":
            return _status(layout, as_json=options.json)
        case "clean-cache":
            print(f"removed {build.clean(progress)} folders from {cache_root()}")
    return 0


def _status(layout: Layout, as_json: bool) -> int:
    found = lifecycle.status(layout)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            if name == "processes":
                for process in value:
                    print(f"  {process['pid']:>8}  {process['since']}  {process['name']}")
            elif value not in ([], None):
                print(f"{name:>16}: {value if not isinstance(value, list) else ', '.join(value)}")
    return 0 if found.get("healthy") else 1
