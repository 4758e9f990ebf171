"""A small client of the API server: JSON over one kept connection, with a client certificate."""

import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from .errors import ClusterError

Object = dict[str, Any]


class ApiError(ClusterError):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Not for use by two threads at once."""

    def __init__(self, address: str, port: int, pki: Path, timeout: float = 10) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._connection = http.client.HTTPSConnection(
            address, port, timeout=timeout, context=context
        )

    def close(self) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """The decoded answer, or its text where it is not JSON.

        Raises ApiError for an answer that is not 2xx, OSError or HTTPException for none at all.
        """
        headers = {"Content-Type": content_type, "User-Agent": "lepton-cluster"}
        data = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, data, headers)
            response = self._connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException):
            # The next request opens a new connection.
            self._connection.close()
            raise
        is_json = response.headers.get_content_type() == "application/json"
        answer = json.loads(text) if is_json else text
        if response.status >= 300:
            reason = answer.get("message", text) if isinstance(answer, dict) else text
            raise ApiError(response.status, f"{method} {path}: {response.status} {reason}")
        return answer

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def apply(self, path: str, manifest: Object) -> Any:
        """Server-side apply."""
        return self.request(
            "PATCH",
            f"{path}?fieldManager=lepton-cluster&force=true",
            manifest,
            "application/apply-patch+yaml",
        )

    def merge(self, path: str, patch: Object) -> Any:
        return self.request("PATCH", path, patch, "application/merge-patch+json")

    def ready(self) -> bool:
        try:
            self.get("/readyz")
        except (ClusterError, OSError, http.client.HTTPException):
            return False
        return True
