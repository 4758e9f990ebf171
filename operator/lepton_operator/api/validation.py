"""Checks a spec as the API server would, and what it can't: hyperparameters, changed rules.

Problems read like kubectl's: `spec.workers: Invalid value: 0: should be at least 1`.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lepton.spec.hyperparameters import validate_hyperparameters
from lepton.spec.suggestions import did_you_mean
from lepton_operator.api import names
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.api.versions import Path, leave_out


class InvalidSpec(ValueError):  # noqa: N818
    """The specification can't be run; `problems` says where and why, one line each."""

    def __init__(self, problems: Iterable[str], unknown: Iterable[Path] = ()) -> None:
        self.problems = tuple(problems)
        self.unknown = tuple(unknown)
        """Where fields stand that there are none of."""
        super().__init__("; ".join(self.problems))


def parse_spec(raw: Mapping[str, Any]) -> LeptonTrainingJobSpec:
    """The spec, checked and with its defaults. Raises InvalidSpec."""
    return _parse_text(json.dumps(raw, sort_keys=True))


def parse_known(raw: Mapping[str, Any]) -> LeptonTrainingJobSpec:
    """The same without the fields that this version does not know. The API server lets none pass
    that its CRD has not: a newer version's has, and what runs by it must survive an older operator.
    """
    return _parse_known_text(json.dumps(raw, sort_keys=True))


@lru_cache(maxsize=256)
def _parse_known_text(text: str) -> LeptonTrainingJobSpec:
    try:
        return _parse_text(text)
    except InvalidSpec as error:
        if not error.unknown:
            raise
        unknown = error.unknown
    rest = json.loads(text)
    leave_out(rest, unknown)
    return parse_spec(rest)


@lru_cache(maxsize=256)
def _parse_text(text: str) -> LeptonTrainingJobSpec:
    # From JSON and strictly, as the API server reads: "2" is no number there.
    try:
        spec = LeptonTrainingJobSpec.model_validate_json(text, strict=True)
    except ValidationError as error:
        found = error.errors()
        unknown = [e["loc"] for e in found if e["type"] == "extra_forbidden"]
        raise InvalidSpec(unique(problem(e) for e in found), unknown) from None
    if spec.agent is not None and spec.agent.hyperparameters:
        try:
            validate_hyperparameters(spec.agent.algorithm, spec.agent.hyperparameters)
        except ValueError as error:
            raise InvalidSpec([f"spec.agent.hyperparameters: {error}"]) from None
    return spec


def check_name(name: str) -> None:
    """Raise InvalidSpec for a name that the CRD would refuse."""
    if len(name) > names.MAX_NAME_LENGTH or not re.fullmatch(names.NAME_PATTERN, name):
        raise InvalidSpec([names.NAME_MESSAGE])


def unique(lines: Iterable[str]) -> list[str]:
    """The lines in order, each once."""
    return list(dict.fromkeys(lines))


def path_of(location: Iterable[int | str]) -> str:
    """`spec.env[0].name` for ("env", 0, "name")."""
    text = "spec"
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text


def problem(error: ErrorDetails) -> str:
    """One error of pydantic in kubectl's words."""
    kind, given, context = error["type"], error["input"], error.get("ctx") or {}
    location = list(error["loc"])
    # A quantity is a number or text; the branch that failed is no part of the field's path.
    quantity = location[-1:] in (["int"], ["constrained-str"])
    if quantity:
        location.pop()
    path = path_of(location)
    shown = json.dumps(given, ensure_ascii=False, default=str)
    if len(shown) > 100:
        shown = f"{shown[:100]}…"
    if quantity:
        return (
            f'{path}: Invalid value: {shown}: must be a whole number or text such as "500m", "8Gi"'
        )
    match kind:
        case "refused":
            field = context.get("field")
            return f"{path}.{field}: {context['text']}" if field else f"{path}: {context['text']}"
        case "missing":
            return f"{path}: Required value"
        case "extra_forbidden":
            return f"{path}: unknown field{_did_you_mean(location)}"
        case "enum" | "literal_error":
            expected = str(context["expected"]).replace("'", '"').replace(" or ", ", ")
            return f"{path}: Unsupported value: {shown}: supported values: {expected}"
        case "greater_than_equal":
            told = f"should be at least {context['ge']}"
        case "less_than_equal":
            told = f"should be at most {context['le']}"
        case "string_pattern_mismatch":
            told = f"should match '{context['pattern']}'"
        case "int_type" | "int_from_float":
            told = "must be a whole number"
        case "float_type" | "finite_number":
            told = "must be a number"
        case "bool_type":
            told = "must be true or false"
        case "datetime_type" | "datetime_parsing" | "datetime_from_date_parsing" | "timezone_aware":
            told = "must be a time such as 2026-01-31T08:00:00Z"
        case "string_type":
            told = "must be text"
        case _:
            told = error["msg"][:1].lower() + error["msg"][1:]
    return f"{path}: Invalid value: {shown}: {told}"


def _did_you_mean(location: list[int | str]) -> str:
    """The nearest field that exists at this place."""
    model: type[BaseModel] | None = LeptonTrainingJobSpec
    for step in location[:-1]:
        if model is not None and isinstance(step, str):
            model = _model_of(model, step)
    if model is None:
        return ""
    fields = [field.alias or name for name, field in model.model_fields.items()]
    near = did_you_mean(location[-1], fields)
    return f"; {near}" if near else ""


def _model_of(model: type[BaseModel], alias: str) -> type[BaseModel] | None:
    """The model of a field's value, of its items for a list."""
    for name, field in model.model_fields.items():
        if (field.alias or name) == alias:
            return _model_in(field.annotation)
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None
