"""Copies the generated CustomResourceDefinition into the chart: python3 charts sync."""

from __future__ import annotations

import sys
from pathlib import Path

CHARTS = Path(__file__).resolve().parent
SOURCE = CHARTS.parent / "crds" / "training.lepton.ai_leptontrainingjobs.yaml"
COPY = CHARTS / "lepton-operator" / "files" / "leptontrainingjobs.yaml"


def main() -> int:
    if sys.argv[1:] != ["sync"]:
        print("usage: python3 charts sync", file=sys.stderr)
        return 2
    COPY.parent.mkdir(exist_ok=True)
    COPY.write_bytes(SOURCE.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
