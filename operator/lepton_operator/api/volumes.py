"""Volumes of the workers: as in a pod, but for those that hand a worker what it is not to have."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from lepton.spec.base import SpecModel, refusal, rule, rules
from lepton_operator.api.fields import OpenObject

AS_IN_A_POD = {"x-kubernetes-preserve-unknown-fields": True}
"""Fields beside those that a rule is about are Kubernetes' to check."""
NO_HOST_PATH = "a path of the node is not for workers; use a claim (persistentVolumeClaim)"
API_SERVERS_AUDIENCE = "kubernetes.default"
"""Within the audiences of its own that an API server commonly has: its Service's name, as a host or
as a URL."""
NEEDS_AN_AUDIENCE = (
    "workers hold no credentials of the API server: a token needs an audience, that of the service"
    " it is for"
)


class ServiceAccountToken(SpecModel):
    """A token of the workers' service account for a service outside, such as a cloud's storage."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=rules(
            rule(
                "has(self.audience) && self.audience != ''"
                f" && !self.audience.contains('{API_SERVERS_AUDIENCE}')",
                NEEDS_AN_AUDIENCE,
            )
        )
        | AS_IN_A_POD,
    )

    audience: Annotated[str, Field(max_length=1024)] | None = None
    """Whom the token is for. The API server's own is refused."""

    @model_validator(mode="after")
    def _is_for_somebody_else(self) -> "ServiceAccountToken":
        if not self.audience or API_SERVERS_AUDIENCE in self.audience:
            raise refusal(NEEDS_AN_AUDIENCE)
        return self


class ProjectedSource(SpecModel):
    """One source of a projected volume, as in a pod."""

    model_config = ConfigDict(extra="allow", json_schema_extra={**AS_IN_A_POD})

    service_account_token: ServiceAccountToken | None = None
    """A token of the workers' service account, for an audience other than the API server."""


class Projected(SpecModel):
    """Several sources in one folder, as in a pod."""

    model_config = ConfigDict(extra="allow", json_schema_extra={**AS_IN_A_POD})

    sources: Annotated[list[ProjectedSource], Field(max_length=32)] = Field(default_factory=list)
    """What is put there."""


class Volume(SpecModel):
    """A volume as in a pod."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra=rules(rule("!has(self.hostPath)", NO_HOST_PATH, field="hostPath"))
        | AS_IN_A_POD,
    )

    host_path: OpenObject | None = None
    """Refused: a path of the node."""
    projected: Projected | None = None
    """Several sources in one folder."""

    @model_validator(mode="after")
    def _is_not_the_nodes(self) -> "Volume":
        if self.host_path is not None:
            raise refusal(NO_HOST_PATH, field="hostPath")
        return self
