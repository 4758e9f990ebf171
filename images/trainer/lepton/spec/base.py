"""What every part of a specification shares: camelCase names, no unknown fields, no change.

The models of `lepton.spec` are written once and used twice: the operator generates the
CustomResourceDefinition from them, the trainer validates its input with them.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

NOT_SUPPORTED_YET = "x-lepton-not-supported-yet"
"""Marks a field in the JSON schema that is named already but that no code acts on yet."""


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
                raise ValueError(f"{field.alias} is not supported yet; remove it")
        return self

    def to_json_object(self) -> dict[str, Any]:
        """The model as a JSON object with camelCase names, without fields that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def not_supported_yet() -> Any:
    """A field that is refused when set: better than one that is accepted and ignored."""
    return Field(default=None, json_schema_extra={NOT_SUPPORTED_YET: True})
