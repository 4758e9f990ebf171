"""`make test-extras`: each extra of environments in a virtual environment of its own, trained in.

The newest allowed versions are installed, not pinned ones, since that is what a user gets; what
lepton itself needs is held at the pinned versions.
"""

import sys
import tomllib

from steps import ROOT, StepError, run, say

TESTS = ROOT / "tests" / "extras"
FOLDER = ROOT / "build" / "extras"
UV = ROOT / ".venv" / "bin" / "uv"


def test_extras(names: list[str]) -> None:
    """Install and test these extras, or all. Raises StepError at the end if any failed."""
    known = sorted(path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py"))
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise StepError(f"there is no extra {', '.join(unknown)}; there are {', '.join(known)}")
    failed = []
    for name in names or known:
        try:
            install_and_train(name)
        except StepError as error:
            say(f"{name}: {error}")
            failed.append(name)
    if failed:
        raise StepError(f"failed: {', '.join(failed)}")
    say("all pass")


def install_and_train(name: str) -> None:
    """Install one extra with lepton and run its tests; raises StepError."""
    place = FOLDER / name
    say(f"{name}: installing {', '.join(packages(name))}")
    run(str(UV), "venv", "-q", "--clear", "--python", sys.executable, str(place))
    run(
        *(str(UV), "pip", "install", "-q", "--python", str(place)),
        *("--constraint", "requirements/dev.txt"),
        *("--editable", f".[train,{name}]", "pytest"),
    )
    say(f"{name}: training")
    run(
        *(str(place / "bin" / "python"), "-m", "pytest", "-q"),
        *("-c", str(TESTS / "pytest.ini"), str(TESTS / f"test_{name}.py")),
    )


def packages(name: str) -> list[str]:
    """What the extra installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed: list[str] = project["optional-dependencies"][name]
    return listed


if __name__ == "__main__":
    try:
        test_extras(sys.argv[1:])
    except StepError as error:
        sys.exit(f"make test-extras: {error}")
