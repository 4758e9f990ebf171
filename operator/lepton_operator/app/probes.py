"""HTTP: /healthz (work goes on), /readyz (caches are filled), /metrics."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

Problems = Callable[[], list[str]]
"""What is wrong at the moment; empty when all is well."""


async def serve(
    port: int, *, unhealthy: Problems, unready: Problems, registry: CollectorRegistry
) -> web.AppRunner:
    """Start the server on all addresses; the caller cleans the runner up."""

    def answer(problems: list[str]) -> web.Response:
        if problems:
            return web.Response(status=503, text="\n".join(problems) + "\n")
        return web.Response(text="ok\n")

    async def healthz(_: web.Request) -> web.Response:
        return answer(unhealthy())

    async def readyz(_: web.Request) -> web.Response:
        return answer(unready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
