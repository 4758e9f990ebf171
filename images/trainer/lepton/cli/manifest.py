"""Reads a LeptonTrainingJob from a file, and says what is wrong with it, a line per problem."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lepton.spec.trainer import CLAIM_SCHEME
from lepton_operator.api import names
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.api.validation import InvalidSpec, check_name, parse_spec

DEFAULT_NAMESPACE = "default"


class ManifestError(Exception):
    """The manifest can't be run; `problems` says why, one line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Manifest:
    """A job as the user wrote it, checked."""

    namespace: str
    name: str
    spec: LeptonTrainingJobSpec


def read_manifest(path: str) -> Manifest:
    """The LeptonTrainingJob in this YAML file; `-` is stdin. Raises ManifestError."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        documents = [d for d in yaml.safe_load_all(text) if d is not None]
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ManifestError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    jobs = [d for d in documents if isinstance(d, dict) and d.get("kind") == names.KIND]
    if len(jobs) != 1:
        raise ManifestError(f"{path}: expected one object of kind {names.KIND}, found {len(jobs)}")
    return _checked(jobs[0])


def _checked(job: dict[str, Any]) -> Manifest:
    problems: list[str] = []
    if job.get("apiVersion") != names.API_VERSION:
        problems.append(
            f"apiVersion: Unsupported value: {job.get('apiVersion')!r}: "
            f"supported values: {names.API_VERSION}"
        )
    metadata = job.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name = metadata.get("name")
    if not isinstance(name, str):
        problems.append("metadata.name: Required value")
    else:
        try:
            check_name(name)
        except InvalidSpec as error:
            problems += [f"metadata.name: {line}" for line in error.problems]
    raw = job.get("spec")
    spec: LeptonTrainingJobSpec | None = None
    if not isinstance(raw, dict):
        problems.append("spec: Required value")
    else:
        try:
            spec = parse_spec(raw)
        except InvalidSpec as error:
            problems += error.problems
    if spec is not None:
        problems += [
            f"spec.env[{index}].valueFrom: needs Kubernetes; set value to run here"
            for index, variable in enumerate(spec.env)
            if variable.value_from is not None
        ]
        if spec.environment is None and spec.command is None:
            problems.append("spec.command: Required value: images do not run here")
        resume_from = spec.checkpoint.resume_from if spec.checkpoint is not None else None
        if resume_from is not None and resume_from.startswith(CLAIM_SCHEME):
            problems.append(
                "spec.checkpoint.resumeFrom: claims need Kubernetes; here it is a path beside the"
                " folder of this run"
            )
        if spec.suspend:
            problems.append("spec.suspend: Invalid value: true: nothing runs while it is set")
    if problems or spec is None:
        raise ManifestError(*problems)
    return Manifest(metadata.get("namespace") or DEFAULT_NAMESPACE, str(name), spec)
