"""A LeptonTrainingJob as the operator reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_operator.api.names import MANAGED_BY
from lepton_operator.api.status import LeptonTrainingJobStatus


@dataclass(frozen=True)
class TrainingJob:
    """One LeptonTrainingJob: identity, raw spec (validated by decide), and parsed status."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    deleting: bool
    spec: Mapping[str, Any]
    status: LeptonTrainingJobStatus
    raw_status: Mapping[str, Any]
    """The status as stored, with fields of other versions, to compute the smallest patch from."""

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name)."""
        return self.namespace, self.name

    @property
    def is_ours(self) -> bool:
        """Whether this operator is the one to look after the job."""
        return self.spec.get("managedBy") in (None, MANAGED_BY)

    @classmethod
    def from_object(cls, raw: Mapping[str, Any]) -> "TrainingJob":
        """Read the object as the API server sends it."""
        metadata = raw["metadata"]
        status = raw.get("status") or {}
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            resource_version=metadata["resourceVersion"],
            deleting="deletionTimestamp" in metadata,
            spec=raw.get("spec") or {},
            status=LeptonTrainingJobStatus.read(status),
            raw_status=status,
        )
