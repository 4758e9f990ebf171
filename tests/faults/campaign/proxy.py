"""A reverse proxy on loopback between an operator and the API server, that does harm on request.

Plain HTTP to the operator, the cluster's credentials to the API server. Every request is recorded.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from aiohttp import web

from campaign.faults import Answer, Cut, Passage, Rule
from campaign.requests import ApiRequest, Which, parse
from campaign.streams import StreamFault
from lepton_operator.engine.credentials import Credentials

HOP_BY_HOP = frozenset(
    {"connection", "host", "keep-alive", "transfer-encoding", "content-length", "upgrade"}
)
"""Headers that are about one connection (RFC 9110, 7.6.1)."""


@dataclass
class Exchange:
    """One request and what became of it."""

    time: float
    """When it came, on the monotonic clock."""
    request: ApiRequest
    code: int | None = None
    """What the API server answered; None if it was not asked."""
    told: int | None = None
    """What the operator was told; None if nothing."""
    struck: bool = False
    """Whether a fault was in the way."""
    answer: bytes = b""
    """The API server's answer to a write."""

    @property
    def took_effect(self) -> bool:
        """Whether the API server did what was asked."""
        return self.code is not None and self.code < 300


class Proxy:
    """One operator's way to the API server."""

    def __init__(self, host: str, login: Credentials | None = None) -> None:
        self.rules: list[Rule] = []
        self.exchanges: list[Exchange] = []
        self.on_exchange: list[Callable[[Exchange], None]] = []
        self._host = host.rstrip("/")
        self._login = login
        self._port = 0
        self._open: dict[asyncio.Future[None], ApiRequest] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        """Where the operator finds it."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "Proxy":
        tls = self._login.ssl if self._login else None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls if tls is not None else True),
            skip_auto_headers=["User-Agent", "Accept-Encoding", "Accept", "Content-Type"],
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        await self.rise()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.fall()
        assert self._session is not None
        await self._session.close()

    async def rise(self) -> None:
        """Listen; after `fall`, at the same port again."""
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=0.0, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]

    async def fall(self) -> None:
        """End all connections and take no more, as a server that has died."""
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def strike(self, rule: Rule) -> Rule:
        """Have a rule hold from now on; the first that takes a request has it."""
        self.rules.append(rule)
        return rule

    def cut(self, which: Which | None = None) -> int:
        """Break the watches that are open, or those that are meant; returns how many."""
        found = [cut for cut, request in self._open.items() if not which or which.fits(request)]
        for cut in found:
            if not cut.done():
                cut.set_result(None)
        return len(found)

    def watching(self, which: Which) -> int:
        """How many of these watches are open."""
        return sum(which.fits(request) for request in self._open.values())

    # What it does with a request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = parse(request.method, request.path, request.query, request.content_type)
        exchange = Exchange(time.monotonic(), asked)
        self.exchanges.append(exchange)
        for tell in self.on_exchange:
            tell(exchange)
        rule = next((rule for rule in self.rules if rule.takes(asked)), None)
        exchange.struck = rule is not None
        fault = rule.fault if rule is not None else None
        try:
            if asked.verb == "watch" and (fault is None or hasattr(fault, "through")):
                return await self._watch(request, exchange, fault)
            answer = await self._ask(request, exchange, fault)
        except (Cut, aiohttp.ClientError, ConnectionError):
            return _broken(request)
        exchange.told = answer.code
        return web.Response(status=answer.code, body=answer.body, headers=answer.headers)

    async def _ask(self, request: web.Request, exchange: Exchange, fault: Any) -> Answer:
        body = await request.read()
        if exchange.request.verb == "create":
            name = json.loads(body)["metadata"].get("name", "")
            exchange.request = replace(exchange.request, name=name)

        async def forward() -> Answer:
            async with await self._send(request, body) as response:
                read = await response.read()
                exchange.code = response.status
                if exchange.request.writes:
                    exchange.answer = read
                return Answer(response.status, read, _headers(response.headers))

        if fault is None:
            return await forward()
        passage = Passage(exchange.request, request.path_qs, forward)
        answer: Answer = await fault.strike(passage)
        return answer

    async def _watch(
        self, request: web.Request, exchange: Exchange, fault: StreamFault | None
    ) -> web.StreamResponse:
        async with await self._send(request, b"") as upstream:
            exchange.code = exchange.told = upstream.status
            response = web.StreamResponse(
                status=upstream.status, headers=_headers(upstream.headers)
            )
            await response.prepare(request)
            lines = _lines(upstream)
            if fault is not None and upstream.status == 200:
                lines = fault.through(lines)
            cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._open[cut] = exchange.request
            try:
                async with contextlib.aclosing(lines):  # type: ignore[type-var]
                    await _pump(lines, response, cut)
            except (Cut, aiohttp.ClientError, ConnectionError):
                return _broken(request, response)
            finally:
                del self._open[cut]
            await response.write_eof()
            return response

    async def _send(self, request: web.Request, body: bytes) -> aiohttp.ClientResponse:
        assert self._session is not None
        headers = _headers(request.headers)
        headers.pop("Accept-Encoding", None)
        options: dict[str, Any] = {}
        if self._login is not None:
            authorization = await self._login.authorization()
            if authorization is not None:
                headers["Authorization"] = authorization
            options["server_hostname"] = self._login.server_name
        return await self._session.request(
            request.method,
            self._host + request.path_qs,
            headers=headers,
            data=body or None,
            allow_redirects=False,
            **options,
        )


async def _pump(
    lines: AsyncIterator[bytes], response: web.StreamResponse, cut: asyncio.Future[None]
) -> None:
    """Pass lines on until they end; raises Cut when `cut` is set."""
    while True:
        coming: asyncio.Future[bytes | None] = asyncio.ensure_future(anext(lines, None))
        either: tuple[asyncio.Future[Any], ...] = (coming, cut)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if cut.done():
                raise Cut
            line = coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
        if line is None:
            return
        await response.write(line)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines, however long."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


def _headers(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _broken(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """End the connection at once, in the middle of whatever is being said."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
