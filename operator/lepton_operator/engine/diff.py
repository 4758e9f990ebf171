"""What differs between two states of an object, as a patch."""

from collections.abc import Collection, Mapping
from typing import Any


def merge_patch(
    old: Mapping[str, Any], new: Mapping[str, Any], owned: Collection[str] | None = None
) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) from `old` to `new`; {} when there is nothing to change.

    A field that `new` lacks gets an explicit null, but at the top level only if it is in `owned`
    (None: every field is): a field that another version of this program wrote stays. Lists are
    replaced as a whole. A None in either stands for a missing field, as a merge patch can't tell
    them apart.
    """
    return _difference(_without_none(old), _without_none(new), owned)


def is_merged(patch: Mapping[str, Any], there: Mapping[str, Any]) -> bool:
    """Whether the merge patch would change nothing of what is there."""
    for key, value in patch.items():
        now = there.get(key)
        if isinstance(value, Mapping):
            if not isinstance(now, Mapping) or not is_merged(value, now):
                return False
        elif not _same(now, value):
            return False
    return True


def _difference(
    old: Mapping[str, Any], new: Mapping[str, Any], owned: Collection[str] | None
) -> dict[str, Any]:
    patch: dict[str, Any] = {
        key: None for key in old if key not in new and (owned is None or key in owned)
    }
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping):
            inner = _difference(before if isinstance(before, Mapping) else {}, value, None)
            if inner or not isinstance(before, Mapping):
                patch[key] = inner
        elif not _same(before, value):
            patch[key] = value
    return patch


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    return bool(one == other)


def _without_none(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(item) if isinstance(item, Mapping) else item
        for key, item in value.items()
        if item is not None
    }
