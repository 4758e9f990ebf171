"""Turns a pydantic model into a structural OpenAPI v3 schema, as CustomResourceDefinitions want it.

Rules of structural schemas: KEP-1693 and
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from lepton.spec.base import NOT_SUPPORTED_YET, RULES, rule, unsupported_message

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
LARGEST_INT32 = 2**31 - 1


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """The model's schema, with every reference inlined; with `defaults` they stay in it."""
    described = model.model_json_schema(by_alias=True)
    return _Structural(described.pop("$defs", {}), defaults).of(described)


class _Structural:
    def __init__(self, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def of(self, described: Mapping[str, Any]) -> Schema:
        """One node and all below it."""
        node = self._resolved(described)
        if node.get("x-kubernetes-int-or-string"):
            return self._int_or_string(node)
        schema: Schema = {key: node[key] for key in KEPT if key in node}
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
        if "const" in node:
            schema["enum"] = [node["const"]]
        self._bounds(node, schema)
        self._default(node, schema)
        self._children(node, schema)
        if "type" not in schema:
            if "enum" not in schema:
                return {
                    **({"description": schema["description"]} if "description" in schema else {}),
                    "x-kubernetes-preserve-unknown-fields": True,
                }
            schema["type"] = "string"
        if schema["type"] == "integer":
            wide = schema.get("maximum", LARGEST_INT32 + 1) > LARGEST_INT32
            schema["format"] = "int64" if wide else "int32"
        elif schema["type"] == "number":
            schema["format"] = "double"
        schema |= {
            key: value
            for key, value in node.items()
            if key.startswith("x-kubernetes-") and key != RULES
        }
        validations = [*node.get(RULES, ()), *self._unsupported(node)]
        if validations:
            schema[RULES] = validations
        return schema

    def _resolved(self, described: Mapping[str, Any]) -> Schema:
        """The node with its reference inlined and `or null` taken away; what stands at the place
        of use (description, default) goes before what stands at the definition."""
        node = dict(described)
        if "$ref" in node:
            name = node.pop("$ref").removeprefix("#/$defs/")
            return {**self._resolved(self._definitions[name]), **node}
        if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
            choices = [choice for choice in node.pop("anyOf") if choice.get("type") != "null"]
            if len(choices) != 1:
                raise TypeError(f"a structural schema has no room for {choices}")
            return {**self._resolved(choices[0]), **node}
        return node

    def _children(self, node: Schema, schema: Schema) -> None:
        if "properties" in node:
            schema["properties"] = {
                name: self.of(child) for name, child in sorted(node["properties"].items())
            }
            if node.get("required"):
                schema["required"] = sorted(node["required"])
        elif node.get("type") == "object":
            values = node.get("additionalProperties", True)
            if values is True:
                schema["x-kubernetes-preserve-unknown-fields"] = True
            else:
                schema["additionalProperties"] = self.of(values)
        if "items" in node:
            schema["items"] = self.of(node["items"])

    def _default(self, node: Schema, schema: Schema) -> None:
        default = _without_nulls(node.get("default"))
        if self._defaults and default not in (None, {}, []):
            schema["default"] = default

    @staticmethod
    def _bounds(node: Schema, schema: Schema) -> None:
        """OpenAPI 3.0 says "greater than" with a flag beside `minimum`."""
        for bound, exclusive in (
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ):
            if exclusive in node:
                schema[bound], schema[exclusive] = node[exclusive], True

    def _int_or_string(self, node: Schema) -> Schema:
        kept = ("description", "pattern", "maxLength")
        schema: Schema = {key: node[key] for key in kept if key in node}
        return schema | {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
        }

    def _unsupported(self, node: Schema) -> list[dict[str, Any]]:
        """A rule for each field of this object that is named already but not acted upon."""
        return [
            rule(f"!has(self.{name})", unsupported_message(name), field=name)
            for name, child in node.get("properties", {}).items()
            if child.get(NOT_SUPPORTED_YET)
        ]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value
