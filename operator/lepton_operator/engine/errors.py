"""What a request to the API server fails with."""

from typing import Any


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
