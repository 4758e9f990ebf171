"""The command `lepton`."""

from lepton.cli.main import main

__all__ = ["main"]
