"""`make test`: lint, unit, chart and end-to-end tests, one closing line of pytest.

A cluster that this run started is stopped at the end; one that was up before stays up.
"""

import subprocess
import sys

import install
import room
from lint import lint
from steps import ROOT, StepError, environment, say, stopped_afterwards


def main() -> int:
    """Returns pytest's exit code."""
    room.check(tests=True)
    say("lint")
    lint()
    with stopped_afterwards():
        install.install()
        say("pytest")
        return subprocess.run(
            # Most of the time a process waits for the cluster, so others have time to compute.
            [sys.executable, "-m", "pytest", "tests", "-n3", "--dist=worksteal", "--durations=15"],
            cwd=ROOT,
            env=environment(),
            check=False,
        ).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepError as error:
        sys.exit(f"make test: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
