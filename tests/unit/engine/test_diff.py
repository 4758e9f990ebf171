"""Merge patches against RFC 7386, as the API server applies them."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lepton_operator.engine.diff import is_merged, merge_patch

SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "b"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("pqr"), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcde"), VALUES, max_size=5)


def apply(target: Any, patch: Any) -> Any:
    """The algorithm of RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = apply(result.get(name), value)
    return result


def typed(value: Any) -> Any:
    """A value of which true and 1 differ."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value).__name__, value


@given(OBJECTS, OBJECTS)
def test_the_patch_applied_to_old_gives_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert typed(apply(old, merge_patch(old, new))) == typed(new)


@given(OBJECTS, OBJECTS, st.sets(st.sampled_from("abcde")))
def test_fields_that_are_not_ours_are_kept(
    old: dict[str, Any], new: dict[str, Any], owned: set[str]
) -> None:
    result = apply(old, merge_patch(old, new, owned))
    kept = {key: value for key, value in old.items() if key not in owned and key not in new}
    assert typed(result) == typed({**kept, **new})


@given(OBJECTS)
def test_without_a_difference_the_patch_is_empty(old: dict[str, Any]) -> None:
    assert merge_patch(old, copy.deepcopy(old)) == {}


@given(OBJECTS, OBJECTS, OBJECTS)
def test_what_a_patch_would_not_change_has_it_merged(
    old: dict[str, Any], new: dict[str, Any], there: dict[str, Any]
) -> None:
    patch = merge_patch(old, new)
    assert is_merged(patch, new)
    assert is_merged(patch, there) is (typed(apply(there, patch)) == typed(there))


def test_lists_are_replaced_as_a_whole_and_unchanged_fields_left_out() -> None:
    old = {"metrics": [{"name": "a", "value": "1"}], "phase": "Running", "progress": {"step": 1}}
    new = {"metrics": [{"name": "a", "value": "2"}], "phase": "Running", "progress": {"step": 2}}
    assert merge_patch(old, new) == {
        "metrics": [{"name": "a", "value": "2"}],
        "progress": {"step": 2},
    }


def test_none_stands_for_a_missing_field() -> None:
    assert merge_patch({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"c": None}}) == {
        "a": None,
        "b": {"c": None},
    }
    assert merge_patch({"a": None}, {"b": None}) == {}
