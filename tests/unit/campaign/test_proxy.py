"""The injecting proxy of the fault campaign, against a small server."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from campaign.faults import After, Before, Cut, Delay, Keep, LoseAnswer, Refuse, Replay, Rule
from campaign.proxy import Proxy
from campaign.requests import ANY_WATCH, ANY_WRITE, parse, which
from campaign.streams import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    Lose,
    StallAfter,
    Swap,
    Twice,
    reaches,
)
from lepton_operator.engine.client import ApiError, Client

POD = {"metadata": {"name": "b"}}
PODS = "/api/v1/namespaces/team/pods"


def line(number, kind="ADDED", uid="u", **status):
    metadata = {"name": "a", "uid": uid, "resourceVersion": str(number)}
    return {"type": kind, "object": {"metadata": metadata, "status": status}}


class Upstream:
    """Counts writes, lists what was written, and sends the given lines to watches."""

    def __init__(self):
        self.lines = [line(1, uid="u"), line(2, "MODIFIED"), line(3, "MODIFIED", uid="v")]
        self.written = []

    async def handle(self, request):
        if request.method != "GET":
            self.written.append(await request.json())
            return web.json_response({"items": len(self.written)}, status=201)
        if "watch" not in request.query:
            return web.json_response({"items": len(self.written)})
        response = web.StreamResponse()
        await response.prepare(request)
        for each in self.lines:
            await response.write(json.dumps(each).encode() + b"\n")
        await asyncio.sleep(0 if "ends" in request.query else 30)
        return response


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=0.0, handler_cancellation=True
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def proxy(upstream) -> AsyncIterator[Proxy]:
    async with Proxy(upstream.url) as made:
        yield made


@pytest.fixture
async def client(proxy) -> AsyncIterator[Client]:
    made = Client(proxy.url)
    yield made
    await made.close()


async def read(client, count=99, ends=True):
    """Versions of the events of a watch, until it ends, breaks or `count` were read."""
    found = []
    lines = client.stream(PODS, {"watch": "1", **({"ends": "1"} if ends else {})}, idle=5)
    try:
        async for text in lines:
            event = json.loads(text)
            if event["type"] == "ERROR":
                return [*found, event["object"]["code"]]
            found.append(int(event["object"]["metadata"]["resourceVersion"]))
            if len(found) == count:
                break
    except ApiError:
        found.append("broken")
    finally:
        await lines.aclose()
    return found


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "told"),
    [
        ("GET", PODS, {}, "", ("list", "pods", "", "team", "")),
        ("GET", "/api/v1/pods", {"watch": "true"}, "", ("watch", "pods", "", "", "")),
        ("GET", f"{PODS}/a-0", {}, "", ("get", "pods", "", "team", "a-0")),
        ("GET", f"{PODS}/a:80/proxy/progress", {}, "", ("get", "pods", "proxy", "team", "a:80")),
        ("GET", "/api/v1/namespaces/team", {}, "", ("get", "namespaces", "", "", "team")),
        ("POST", "/apis/batch/v1/namespaces/t/jobs", {}, "", ("create", "jobs", "", "t", "")),
        (
            "PATCH", "/apis/g/v1/namespaces/t/things/a/status", {}, "application/merge-patch+json",
            ("patch", "things", "status", "t", "a"),
        ),
        (
            "PATCH", "/apis/g/v1/namespaces/t/things/a", {}, "application/apply-patch+yaml",
            ("apply", "things", "", "t", "a"),
        ),
        ("GET", "/apis/batch/v1", {}, "", ("list", "", "", "", "")),
        ("GET", "/version", {}, "", ("list", "", "", "", "")),
    ],
)  # fmt: skip
def test_a_request_is_read_in_the_words_of_rbac(method, path, query, body, told):
    asked = parse(method, path, query, body)
    assert (asked.verb, asked.resource, asked.subresource, asked.namespace, asked.name) == told


async def test_without_a_rule_everything_passes_and_is_recorded(proxy, client, upstream):
    await client.post(PODS, {"metadata": {"name": "a"}})
    assert upstream.written == [{"metadata": {"name": "a"}}]
    assert await read(client) == [1, 2, 3]
    assert [(str(e.request), e.request.name, e.code, e.told) for e in proxy.exchanges] == [
        ("create pods", "a", 201, 201),
        ("watch pods", "", 200, 200),
    ]


async def test_a_refusal_reaches_the_caller_and_not_the_server(proxy, client, upstream):
    proxy.strike(Rule(ANY_WRITE, Refuse(429, "TooManyRequests", retry_after=3), skip=1))
    await client.post(PODS, POD)
    with pytest.raises(ApiError) as caught:
        await client.post(PODS, POD)
    assert (caught.value.status, caught.value.retry_after) == (429, 3)
    await client.post(PODS, POD)
    assert len(upstream.written) == 2
    assert [e.code for e in proxy.exchanges] == [201, None, 201]


async def test_a_lost_answer_belongs_to_a_write_that_took_effect(proxy, client, upstream):
    proxy.strike(Rule(which("create", "pods"), LoseAnswer()))
    with pytest.raises(ApiError) as caught:
        await client.post(PODS, POD)
    assert caught.value.status == 0
    assert len(upstream.written) == 1
    (exchange,) = proxy.exchanges
    assert (exchange.took_effect, exchange.told) == (True, None)


async def test_hooks_run_before_and_after_the_server_has_seen_a_write(proxy, client, upstream):
    seen = []

    async def look():
        seen.append(len(upstream.written))

    async def look_and_cut():
        seen.append(len(upstream.written))
        raise Cut

    proxy.strike(Rule(ANY_WRITE, Before(look)))
    proxy.strike(Rule(ANY_WRITE, After(look)))
    proxy.strike(Rule(ANY_WRITE, Before(look_and_cut)))
    await client.post(PODS, POD)
    await client.post(PODS, POD)
    with pytest.raises(ApiError):
        await client.post(PODS, POD)
    assert seen == [0, 2, 2]
    assert len(upstream.written) == 2


async def test_a_stale_list_is_what_was_listed_before(proxy, client):
    kept = Keep()
    proxy.strike(Rule(which("list", "pods"), kept))
    proxy.strike(Rule(which("list", "pods"), Replay(kept)))
    await client.get(PODS)
    await client.post(PODS, POD)
    assert await client.get(PODS) == {"items": 0}
    assert await client.get(PODS) == {"items": 1}


async def test_a_delay_changes_nothing_but_the_time(proxy, client, upstream):
    proxy.strike(Rule(ANY_WRITE, Delay(0.01)))
    assert await client.post(PODS, POD) == {"items": 1}


@pytest.mark.parametrize(
    ("fault", "got"),
    [
        (EndAfter(1), [1]),
        (CutAfter(2), [1, 2, "broken"]),
        (CutAfter(2, in_line=True), [1, 2, "broken"]),
        (ErrorAfter(1), [1, 410]),
        (Lose(), []),
        (Lose(reaches("Complete")), [1, 2, 3]),
        (Twice(), [1, 1, 2, 2, 1, 3, 3]),
        (Swap(), [2, 1, 3]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_watch_is_broken_as_asked_and_the_next_one_whole(proxy, client, fault, got):
    proxy.strike(Rule(ANY_WATCH, fault))
    assert await read(client) == got
    assert await read(client) == [1, 2, 3]


async def test_only_events_that_are_meant_are_lost(proxy, client, upstream):
    told = {"conditions": [{"type": "Complete", "status": "True"}]}
    upstream.lines.append(line(4, "MODIFIED", **told))
    proxy.strike(Rule(ANY_WATCH, Lose(reaches("Complete"))))
    assert await read(client) == [1, 2, 3]


async def test_a_stalled_watch_stays_open_and_says_nothing_more(proxy, client):
    proxy.strike(Rule(ANY_WATCH, StallAfter(1)))
    lines = client.stream(PODS, {"watch": "1"}, idle=0.3)
    assert json.loads(await anext(lines))["object"]["metadata"]["resourceVersion"] == "1"
    assert proxy.watching(ANY_WATCH) == 1
    with pytest.raises(ApiError, match="Timeout"):
        await anext(lines)


async def test_an_open_watch_can_be_cut_at_any_time(proxy, client):
    reading = asyncio.create_task(read(client, ends=False))
    while proxy.watching(ANY_WATCH) == 0:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert proxy.cut(which("watch", "jobs")) == 0
    assert proxy.cut(which("watch", "pods")) == 1
    assert await reading == [1, 2, 3, "broken"]


async def test_a_server_that_fell_refuses_connections_until_it_rises(proxy, client):
    reading = asyncio.create_task(read(client, ends=False))
    while proxy.watching(ANY_WATCH) == 0:
        await asyncio.sleep(0.01)
    await proxy.fall()
    assert (await reading)[-1] == "broken"
    with pytest.raises(ApiError):
        await client.get(PODS)
    await proxy.rise()
    assert await client.get(PODS) == {"items": 0}
