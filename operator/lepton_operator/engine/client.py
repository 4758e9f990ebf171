"""A thin client of the API server: JSON in, JSON out, no models.

Measured against typed models at a fifth of the CPU (measured/api.md). It neither retries (but once
after a 401, with fresh credentials) nor logs: callers know what a failure means.
"""

import asyncio
import importlib.metadata
from collections.abc import AsyncGenerator, Mapping
from typing import Any, TypedDict, Unpack

import aiohttp
import orjson

from lepton_operator.engine import credentials
from lepton_operator.engine.clock import ServerClock
from lepton_operator.engine.credentials import Credentials
from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.transport import proxy_for, watched_socket

POOL = 32
"""Connections for requests; watches have their own, so that they can't use these up."""
TIMEOUT = 10.0
"""Seconds for a request, from waiting for a connection to the last byte."""
WATCH_CONNECT_TIMEOUT = 30.0
"""Seconds until a watch answers: API priority and fairness may hold it back for a while."""
MAX_LINE = 16 * 2**20
"""Bytes of one watch event; etcd's limit for an object is 1.5 MiB."""

PAGE = 100
"""Objects of a list to read at once: parsing keeps the event loop from everything else, 6 ms for so
many pods. Pages five times as large cost the API server hardly less."""

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON = "application/json"

Params = Mapping[str, str]
Body = Mapping[str, Any]

__all__ = ["APPLY_PATCH", "MERGE_PATCH", "PAGE", "ApiError", "Client", "user_agent"]


class How(TypedDict, total=False):
    """How to send: in at most `timeout` seconds; if `urgent`, without waiting for the pool."""

    timeout: float
    urgent: bool


class Client:
    """One API server. Build it with `connect`, or with an address for tests; close it at the end.

    Every method raises ApiError, with status 0 when there was no (complete) answer.
    """

    def __init__(self, host: str, login: Credentials | None = None, *, pool: int = POOL) -> None:
        self.host = host.rstrip("/")
        self.clock = ServerClock()
        """The API server's time."""
        self._login = login
        tls = login.ssl if login else None
        options: dict[str, Any] = {
            "ssl": tls if tls is not None else True,
            "keepalive_timeout": 60,
            "socket_factory": watched_socket,
        }
        # Within a cluster it takes longer to compress a list than to send it; Kubernetes' own
        # controllers do without, too: https://github.com/kubernetes/kubernetes/pull/80919
        headers = {"User-Agent": user_agent(), "Accept": JSON, "Accept-Encoding": "identity"}
        proxy = (login.proxy if login else None) or proxy_for(self.host)
        self._requests, self._streams = (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=limit, **options),
                headers=headers,
                proxy=proxy,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            for limit in (pool, 0)
        )

    @classmethod
    async def connect(
        cls, context: str | None = None, *, kubeconfig: str | None = None
    ) -> "Client":
        """A client with the pod's credentials, or else with those of a kubeconfig's context.

        Raises kubernetes.aio.config.ConfigException; does not yet talk to the server.
        """
        login = await credentials.load(context, kubeconfig)
        return cls(login.host, login)

    async def close(self) -> None:
        """Close all connections."""
        await self._requests.close()
        await self._streams.close()

    async def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        accept: str = JSON,
        **how: Unpack[How],
    ) -> dict[str, Any]:
        """GET an object or a list."""
        return _object(await self._request("GET", path, params, accept=accept, **how))

    async def get_text(
        self, path: str, params: Params | None = None, *, most: int, **how: Unpack[How]
    ) -> str:
        """GET what is no JSON of the server's own, such as a log; bytes that are no UTF-8 are
        replaced. Raises ApiError (TooLarge) for more than `most` bytes, without reading on."""
        raw = await self._request("GET", path, params, accept="*/*", most=most, **how)
        return raw.decode(errors="replace")

    async def post(
        self, path: str, body: Body, params: Params | None = None, **how: Unpack[How]
    ) -> dict[str, Any]:
        """POST an object; the answer is the object as stored."""
        return _object(await self._request("POST", path, params, body, **how))

    async def put(
        self, path: str, body: Body, params: Params | None = None, **how: Unpack[How]
    ) -> dict[str, Any]:
        """PUT an object; the answer is the object as stored."""
        return _object(await self._request("PUT", path, params, body, **how))

    async def patch(
        self,
        path: str,
        body: Body,
        content_type: str = MERGE_PATCH,
        params: Params | None = None,
        **how: Unpack[How],
    ) -> dict[str, Any]:
        """PATCH an object; `content_type` says how: MERGE_PATCH or APPLY_PATCH."""
        return _object(
            await self._request("PATCH", path, params, body, content_type=content_type, **how)
        )

    async def delete(
        self, path: str, body: Body | None = None, **how: Unpack[How]
    ) -> dict[str, Any]:
        """DELETE an object; the answer is a Status, or the object while it still terminates."""
        return _object(await self._request("DELETE", path, None, body, **how))

    async def stream(
        self, path: str, params: Params | None = None, *, idle: float
    ) -> AsyncGenerator[bytes, None]:
        """Complete lines of a watch as they arrive.

        Ends when the server ends it. Raises ApiError when the connection breaks, a line is beyond
        MAX_LINE, or nothing at all arrived for `idle` seconds (a stall with TCP open). A line that
        was cut off in its middle is never given out.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=idle)
        try:
            async with asyncio.timeout(WATCH_CONNECT_TIMEOUT):
                response = await self._send(self._streams, "GET", path, params, timeout=limits)
            async with response:
                rest: list[bytes] = []
                size = 0
                async for chunk in response.content.iter_any():
                    first, *lines = chunk.split(b"\n")
                    if lines:
                        yield b"".join((*rest, first))
                        for line in lines[:-1]:
                            yield line
                        rest, size = [], 0
                        first = lines[-1]
                    if first:
                        rest.append(first)
                        size += len(first)
                        if size > MAX_LINE:
                            raise ApiError(0, "TooLarge", f"a line of more than {MAX_LINE} bytes")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(error) from error

    async def _request(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        body: Body | None = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        timeout: float = TIMEOUT,  # noqa: ASYNC109
        urgent: bool = False,
        most: int | None = None,
    ) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                response = await self._send(
                    self._streams if urgent else self._requests,
                    method,
                    path,
                    params,
                    data=None if body is None else orjson.dumps(body),
                    headers={"Content-Type": content_type, "Accept": accept},
                )
                async with response:
                    if most is not None:
                        # It may be a pod that speaks.
                        return await _read(response, most)
                    self.clock.hear(response.headers.get("Date"))
                    return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_answer(error) from error

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        params: Params | None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109
    ) -> aiohttp.ClientResponse:
        """Send, and send again if other credentials may help; an HTTP error becomes an ApiError."""
        options: dict[str, Any] = {"timeout": timeout or aiohttp.ClientTimeout(total=None)}
        if self._login:
            options["server_hostname"] = self._login.server_name
        for attempt in (1, 2):
            authorization = await self._login.authorization() if self._login else None
            response = await session.request(
                method,
                self.host + path,
                params=params,
                data=data,
                headers={**(headers or {}), **_authorize(authorization)},
                allow_redirects=False,
                **options,
            )
            if response.status < 300:
                return response
            async with response:
                raw = await response.read()
            retry = response.status == 401 and attempt == 1 and self._login is not None
            if not (retry and self._login and await self._login.refused(authorization)):
                raise _error(response, raw)
        raise AssertionError("unreachable")


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            response.close()
            raise ApiError(0, "TooLarge", f"the answer is longer than {most} bytes")
    return b"".join(chunks)


def user_agent() -> str:
    """`lepton-operator/<version>`, as it stands in audit logs."""
    try:
        return f"lepton-operator/{importlib.metadata.version('lepton-training')}"
    except importlib.metadata.PackageNotFoundError:
        return "lepton-operator/unknown"


def _authorize(authorization: str | None) -> dict[str, str]:
    return {"Authorization": authorization} if authorization else {}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(0, "NotJSON", f"the answer is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise ApiError(0, "NotJSON", "the answer is no JSON object")
    return body


def _error(response: aiohttp.ClientResponse, raw: bytes) -> ApiError:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = raw.decode(errors="replace")
    return ApiError.from_status(
        response.status, body, response.reason or "", response.headers.get("Retry-After")
    )


def _no_answer(error: Exception) -> ApiError:
    reason = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
    return ApiError(0, reason, str(error) or "no answer in time")
