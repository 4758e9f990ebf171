"""`python -m lepton_operator.api.generate`: writes crds/ from the models, or checks it."""

import argparse
import sys
from pathlib import Path

import yaml

from lepton_operator.api import names
from lepton_operator.api.crd import custom_resource_definition

HEADER = (
    "# Generated from operator/lepton_operator/api by `make crds`; change the models instead.\n"
)
DEFAULT_FOLDER = Path(__file__).parents[3] / "crds"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def rendered() -> str:
    """The CustomResourceDefinition as YAML."""
    definition = custom_resource_definition()
    return HEADER + yaml.dump(
        definition, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the file; with --check only say whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m lepton_operator.api.generate")
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="folder to write to")
    options = parser.parse_args(arguments)
    path = options.folder / f"{names.GROUP}_{names.PLURAL}.yaml"
    text = rendered()
    if options.check:
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"{path} is not what the models say; run `make crds`", file=sys.stderr)
            return 1
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
