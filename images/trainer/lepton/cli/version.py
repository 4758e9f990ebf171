"""`lepton version`."""

import platform
from importlib.metadata import PackageNotFoundError, version

import lepton


def print_versions() -> int:
    """Print the versions of lepton and of what it uses."""
    print(f"lepton {lepton.__version__}")
    print(f"python {platform.python_version()}")
    for package in ("torch", "gymnasium", "numpy", "pydantic"):
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} is not installed")
    return 0
