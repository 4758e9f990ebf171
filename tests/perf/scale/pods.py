"""Answers in the name of pods that do not exist."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from lepton.spec.run import PROGRESS_PORT
from scale.cluster import Json

NETWORK = "10.128.0.0/10"
"""Addresses that kwok gives to pods."""


@contextlib.asynccontextmanager
async def answering(progress: Callable[[], Json | None]) -> AsyncIterator[None]:
    """Route the pods' addresses to this machine's loopback, where one server answers for all:
    /progress with what `progress` returns, or 404 for None."""

    async def answer(_: web.Request) -> web.Response:
        told = progress()
        return web.json_response(told) if told is not None else web.Response(status=404)

    application = web.Application()
    application.router.add_get("/progress", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Nothing from outside of this machine gets in.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
    listening.bind(("0.0.0.0", PROGRESS_PORT))
    await _ip("route", "replace", "local", NETWORK, "dev", "lo")
    try:
        await web.SockSite(runner, listening, backlog=1024).start()
        yield
    finally:
        await _ip("route", "del", "local", NETWORK, "dev", "lo")
        await runner.cleanup()


async def _ip(*arguments: str) -> None:
    """Run `ip`. Raises RuntimeError."""
    process = await asyncio.create_subprocess_exec("ip", *arguments)
    if await process.wait() != 0:
        raise RuntimeError(f"ip {' '.join(arguments)} failed; it needs root")
