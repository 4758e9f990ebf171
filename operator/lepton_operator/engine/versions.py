"""Which object something is about, and which of two versions of it is older.

Versions are compared as the integers that Kubernetes 1.35 promises (KEP-5504); where they are not
digits, they can only be told to be the same or not.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

Key = tuple[str, str]
"""Namespace ("" for none) and name."""


class Known(NamedTuple):
    """Which object it is, and its version."""

    uid: str
    version: str


def is_older(version: str, than: str) -> bool:
    """Whether `version` is certainly older; never for versions that can't be compared."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)


def identity(raw: Mapping[str, Any]) -> tuple[Key, Known]:
    """Which object this is, as the API server sends it."""
    metadata = raw["metadata"]
    key = (metadata.get("namespace", ""), metadata["name"])
    return key, Known(metadata["uid"], metadata["resourceVersion"])
