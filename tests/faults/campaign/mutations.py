"""Values that a field of the CRD's schema allows, for changes that users might make to a job."""

from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

LEFT_ALONE = frozenset({"suspend", "startAt", "managedBy", "ttlSecondsAfterFinished"})
"""Fields that decide whether a job is looked after at all."""
OF_ANY_KIND = st.sampled_from([{}, {"name": "a"}, {"name": "A b"}, {"name": 5}, {"operator": []}])
"""Values of what is passed through to pods: some that a pod has, some that no API server reads."""


def of_schema(schema: dict[str, Any]) -> Strategy:
    """Values of a schema, most of them near its bounds; rules in CEL are not looked at."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return OF_ANY_KIND
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([0, 1, "500m", "1Gi", "2"])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            low = schema.get("minimum", 0)
            return st.integers(low, min(schema.get("maximum", low + 100), low + 100))
        case "number":
            low = schema.get("minimum", 0.0)
            return st.floats(low, low + 10, allow_nan=False)
        case "string":
            return _text(schema)
        case "array":
            most = min(schema.get("maxItems", 2), 2)
            return st.lists(of_schema(schema["items"]), min_size=schema.get("minItems", 0),
                            max_size=max(most, schema.get("minItems", 0)))  # fmt: skip
        case "object":
            return _object(schema)
    return st.just({})


def _text(schema: dict[str, Any]) -> Strategy:
    if schema.get("format") == "date-time":
        return st.just("2026-01-01T00:00:00Z")
    if "pattern" in schema:
        most = schema.get("maxLength", 60)
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda t: len(t) <= most)
    return st.sampled_from(["a", "name", "a-b", "x" * min(schema.get("maxLength", 40), 40)])


def _object(schema: dict[str, Any]) -> Strategy:
    properties = schema.get("properties", {})
    if not properties:
        inner = schema.get("additionalProperties")
        if not isinstance(inner, dict):
            return st.just({})
        return st.dictionaries(st.sampled_from(["a", "b.example/c"]), of_schema(inner), max_size=2)
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: of_schema(properties[name]) for name in sorted(required)},
        optional={name: of_schema(properties[name]) for name in sorted({*properties} - required)},
    )


def changes(spec_schema: dict[str, Any]) -> Strategy:
    """Merge patches of one or two fields of a spec."""
    fields = {n: s for n, s in spec_schema["properties"].items() if n not in LEFT_ALONE}
    one = st.sampled_from(sorted(fields)).flatmap(
        lambda name: st.fixed_dictionaries({name: of_schema(fields[name])})
    )
    return st.one_of(one, st.tuples(one, one).map(lambda pair: {**pair[0], **pair[1]}))
