"""What a request to the API server is about: verb, resource, subresource, namespace, name."""

from collections.abc import Mapping
from dataclasses import dataclass

APPLY = "application/apply-patch+yaml"
WRITES = frozenset({"create", "update", "patch", "apply", "delete"})


@dataclass(frozen=True)
class ApiRequest:
    """One request, in the words of RBAC, with apply as a verb of its own."""

    verb: str
    resource: str
    """The plural; "" for what is about no resource, such as discovery."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    group: str = ""

    @property
    def writes(self) -> bool:
        """Whether it changes something."""
        return self.verb in WRITES

    def __str__(self) -> str:
        return f"{self.verb} {'/'.join(filter(None, (self.resource, self.subresource)))}"


def parse(method: str, path: str, query: Mapping[str, str], content_type: str) -> ApiRequest:
    """Read a request's line and type of body."""
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource, name, *subresource = [*rest, "", ""][: max(2, len(rest))]
    if method == "GET":
        verb = "get" if name else "list"
        if query.get("watch", "") in ("1", "true"):
            verb = "watch"
    elif method == "PATCH":
        verb = "apply" if content_type.startswith(APPLY) else "patch"
    else:
        verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(method, method.lower())
    # Of pods/NAME:PORT/proxy/PATH only the first part is a subresource.
    group = parts[1] if parts[0] == "apis" and len(parts) > 1 else ""
    return ApiRequest(verb, resource, subresource[0] if subresource else "", namespace, name, group)


@dataclass(frozen=True)
class Which:
    """Which requests: those that agree in everything that is given."""

    verbs: frozenset[str] | None = None
    resource: str | None = None
    subresource: str | None = None
    name: str | None = None
    """How the name begins."""
    group: str | None = None
    """The API group; "" for the core's."""
    but_not: frozenset[str] = frozenset()
    """Resources that are left alone."""

    def fits(self, request: ApiRequest) -> bool:
        """Whether a request is one of them."""
        return (
            (self.verbs is None or request.verb in self.verbs)
            and (self.resource is None or request.resource == self.resource)
            and (self.subresource is None or request.subresource == self.subresource)
            and (self.name is None or request.name.startswith(self.name))
            and (self.group is None or request.group == self.group)
            and request.resource not in self.but_not
        )


def which(verb: str, resource: str, subresource: str = "") -> Which:
    """The requests of one verb on one resource."""
    return Which(frozenset({verb}), resource, subresource)


ALL_BUT_LEASES = frozenset({"leases"})
"""Renewals come by the clock and say nothing of what a job costs."""
ANY_WRITE = Which(WRITES, but_not=ALL_BUT_LEASES)
ANY_OBJECT_WRITE = Which(WRITES, but_not=frozenset({"leases", "events"}))
STATUS_WRITE = which("patch", "leptontrainingjobs", "status")
ANY_WATCH = Which(frozenset({"watch"}))
ANY_LIST = Which(frozenset({"list"}))
