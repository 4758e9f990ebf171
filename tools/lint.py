"""`make lint`: ruff, and mypy --strict over the packages and over the programs beside them."""

import subprocess
import sys

from steps import ROOT, StepError

PROGRAMS = ("images", "tests/cluster", "tools", "charts")
"""Folders of programs that the standard library alone runs, each checked from its own folder."""


def lint() -> None:
    """Raises StepError at the first that finds fault; what it found is on the terminal."""
    check(("ruff", "check", "."), ".")
    check(("ruff", "format", "--check", "--quiet", "."), ".")
    check(("mypy",), ".")
    for folder in PROGRAMS:
        check(("mypy", "--strict", "--config-file=", "."), folder)


def check(command: tuple[str, ...], folder: str) -> None:
    """Run one of the virtual environment's programs in a folder."""
    program = ROOT / ".venv" / "bin" / command[0]
    done = subprocess.run([program, *command[1:]], cwd=ROOT / folder, check=False)
    if done.returncode != 0:
        raise StepError(f"{command[0]} finds fault in {folder}; `make format` mends the form")


if __name__ == "__main__":
    try:
        lint()
    except StepError as error:
        sys.exit(f"make lint: {error}")
