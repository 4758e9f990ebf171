"""What a request to the API server, or a write, fails with."""

from typing import Any

UNREADABLE = "cannot be handled as a"
"""What the API server says of an object with a field of a wrong type."""


class ApiError(Exception):
    """A request failed: an answer of the API server, or with `status` 0 none at all.

    `reason` and `message` are the Status body's (e.g. AlreadyExists), `causes` the reasons of its
    details, `retry_after` seconds.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        retry_after: float | None = None,
        causes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.causes = causes

    @staticmethod
    def from_status(
        code: int, body: Any, phrase: str = "", retry_after: str | None = None
    ) -> "ApiError":
        """Read a metav1.Status; anything else, such as a proxy's HTML, is kept in short."""
        if not isinstance(body, dict) or body.get("kind") != "Status":
            text = body if isinstance(body, str) else ""
            body = {"reason": phrase or "Unknown", "message": " ".join(text.split())[:300]}
        details = body.get("details") or {}
        seconds: float | None = details.get("retryAfterSeconds")
        if retry_after and retry_after.isdigit():
            seconds = float(retry_after)
        return ApiError(
            body.get("code") or code,
            body.get("reason") or phrase or "Unknown",
            body.get("message") or "",
            seconds,
            tuple(cause.get("reason", "") for cause in details.get("causes") or ()),
        )


class NotLeader(Exception):  # noqa: N818
    """The lease is lost: nothing may be written any more."""


class NameTaken(Exception):  # noqa: N818
    """An object of this name exists, and is not ours."""

    def __init__(self, kind: str, name: str, owner: str) -> None:
        super().__init__(f"{kind} {name} exists already and belongs to {owner}")
        self.kind = kind
        self.name = name
        self.owner = owner


class Conflict(ApiError):  # noqa: N818
    """Somebody changed the object since it was read (409): look again."""


class Refused(ApiError):  # noqa: N818
    """The API server won't have this (400, 403, 413, 422); the same again is refused again.

    `permanent` is false where it depends on others: quota, admission, access rights. A webhook that
    denies with no code of its own does so with 400, as does a server that can't read an object.
    `namespace_terminating` is true when the namespace is being deleted.
    """

    @property
    def permanent(self) -> bool:
        """Whether only another manifest can help."""
        return self.status in (413, 422) or UNREADABLE in self.message

    @property
    def namespace_terminating(self) -> bool:
        """Whether nothing can be created since the namespace is being deleted."""
        return "NamespaceTerminating" in self.causes


def specific(error: ApiError) -> ApiError:
    """The error in the class that its status calls for."""
    kind: type[ApiError] | None = None
    if error.status == 409 and error.reason != "AlreadyExists":
        kind = Conflict
    elif error.status in (400, 403, 413, 422):
        kind = Refused
    if kind is None:
        return error
    return kind(error.status, error.reason, error.message, error.retry_after, error.causes)
