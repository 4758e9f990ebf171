"""What every part of a specification shares: camelCase names, no unknown fields, no change.

The models of `lepton.spec` are written once and used twice: the operator generates the
CustomResourceDefinition from them, the trainer validates its input with them.
"""

import re
from typing import Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

NOT_SUPPORTED_YET = "x-lepton-not-supported-yet"
"""Marks a field in the JSON schema that is named already but that no code acts on yet."""
RULES = "x-kubernetes-validations"


def rules(*validations: dict[str, Any]) -> dict[str, Any]:
    """JSON schema extra with rules that the API server checks (KEP-2876)."""
    return {RULES: list(validations)}


def rule(expression: str, message: str, *, field: str | None = None) -> dict[str, Any]:
    """A CEL rule over the value it stands at, and what a user reads when it is broken.

    With `field` (camelCase) the error points at that field of the value. A validator beside it
    says the same in Python.
    """
    told = {"rule": expression, "message": message}
    if field is not None:
        told |= {"fieldPath": f".{field}", "reason": "FieldValueForbidden"}
    return told


def refusal(message: str, *, field: str | None = None) -> PydanticCustomError:
    """The error of a validator; `field` (camelCase) is the one of the model's that is at fault."""
    return PydanticCustomError("refused", "{text}", {"text": message, "field": field})


def text_like(pattern: str, message: str) -> tuple[Any, Any]:
    """Metadata of a text field that must match the pattern (RE2) from end to end. A rule in place
    of the schema's own `pattern`, since a user should not have to read a regular expression."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise refusal(message)
        return value

    expression = f"self.matches(r'^({pattern})$')"
    return AfterValidator(check), Field(json_schema_extra=rules(rule(expression, message)))


def unsupported_message(field: str) -> str:
    """What a user reads who sets a field that is not supported yet."""
    return f"{field} is not supported yet; remove it"


class SpecModel(BaseModel):
    """A frozen model with camelCase aliases that refuses fields it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="after")
    def _refuse_what_is_not_supported_yet(self) -> "SpecModel":
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            marked = isinstance(extra, dict) and extra.get(NOT_SUPPORTED_YET)
            if marked and getattr(self, name) is not None:
                alias = field.alias or name
                raise refusal(unsupported_message(alias), field=alias)
        return self

    def to_json_object(self) -> dict[str, Any]:
        """The model as a JSON object with camelCase names, without fields that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def not_supported_yet() -> Any:
    """A field that is refused when set: better than one that is accepted and ignored."""
    return Field(default=None, json_schema_extra={NOT_SUPPORTED_YET: True})
