"""The client's errors, time limits, credentials and lines."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from lepton_operator.engine import credentials
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.resources import Resource
from lepton_operator.engine.transport import bypasses_proxy, proxy_for


async def test_an_error_has_the_statuss_reason_message_and_retry_after(
    api: Any, client: Client, kit: Any
) -> None:
    api.once(kit.refusing(429, "TooManyRequests", "slow down", retryAfterSeconds=3))
    with pytest.raises(ApiError, match="429 TooManyRequests: slow down") as raised:
        await client.get("/api/v1/things")
    assert raised.value.retry_after == 3


async def test_an_error_that_is_no_status_is_told_in_short(api: Any, client: Client) -> None:
    async def proxy(_: Any) -> Any:
        return web.Response(status=502, text="<html>\n<b>Bad gateway</b>" + "x" * 1000)

    api.once(proxy)
    with pytest.raises(ApiError) as raised:
        await client.get("/api/v1/things")
    assert raised.value.status == 502
    assert raised.value.message.startswith("<html> <b>Bad gateway</b>")
    assert len(raised.value.message) <= 300


@pytest.mark.parametrize("text", ["no json", "[1]", ""])
async def test_an_answer_that_is_no_object_is_an_error(api: Any, client: Client, text: str) -> None:
    async def nonsense(_: Any) -> Any:
        return web.Response(text=text)

    api.once(nonsense)
    with pytest.raises(ApiError, match="NotJSON"):
        await client.get("/api/v1/things")


async def test_an_answer_that_does_not_come_is_an_error_with_status_0(
    api: Any, client: Client
) -> None:
    never = asyncio.Event()

    async def hang(_: Any) -> None:
        await never.wait()

    api.once(hang)
    with pytest.raises(ApiError, match="Timeout") as raised:
        await client.get("/api/v1/things", timeout=0.02)
    assert raised.value.status == 0
    never.set()


async def test_a_server_that_is_not_there_is_an_error_with_status_0() -> None:
    client = Client("http://127.0.0.1:1")
    with pytest.raises(ApiError) as raised:
        await client.get("/version")
    assert raised.value.status == 0
    await client.close()


async def test_requests_say_who_sends_them(api: Any, client: Client) -> None:
    await client.get("/api/v1/things")
    assert api.headers[-1]["User-Agent"].startswith("lepton-operator/")
    assert api.headers[-1]["Accept-Encoding"] == "identity"


async def test_text_is_returned_as_it_is(api: Any, client: Client) -> None:
    async def log(_: Any) -> Any:
        return web.Response(body=b"caf\xc3\xa9 \xff\n")

    api.once(log)
    assert await client.get_text("/api/v1/namespaces/n/pods/p/log", most=100) == "café \ufffd\n"


async def test_text_without_end_is_not_read_to_its_end(api: Any, client: Client) -> None:
    sent = []

    async def flood(request: Any) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        while len(sent) < 10_000:
            await response.write(b"x" * 10_000)
            sent.append(1)
        return response

    api.once(flood)
    with pytest.raises(ApiError, match="TooLarge: the answer is longer than 1000 bytes"):
        await client.get_text("/api/v1/namespaces/n/pods/p/proxy/progress", most=1000)
    assert len(sent) < 10_000


async def test_lines_are_put_together_from_whatever_pieces_they_come_in(
    api: Any, client: Client, kit: Any
) -> None:
    long = b"0123456789" * 500_000
    api.once(kit.streaming(b"o", b"ne\ntw", b"o\n", long[:1_000_000], long[1_000_000:] + b"\nrest"))
    lines = [line async for line in client.stream("/watch", idle=5)]
    assert lines == [b"one", b"two", long]


async def test_watches_do_not_use_up_the_connections_of_requests(api: Any, kit: Any) -> None:
    client = Client(api.url, pool=1)
    never = asyncio.Event()
    for _ in range(3):
        api.once(kit.streaming(b"first\n", then=never.wait()))
    streams = [client.stream("/watch", idle=30) for _ in range(3)]
    assert [await anext(stream) for stream in streams] == [b"first"] * 3
    await client.get("/api/v1/things")
    never.set()
    for stream in streams:
        await stream.aclose()
    await client.close()


def write_kubeconfig(path: Path, url: str, user: dict[str, Any]) -> str:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return str(path)


async def test_a_token_that_is_refused_is_read_again_and_the_request_repeated(
    api: Any, kit: Any, tmp_path: Path, clock: Any
) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    kubeconfig = write_kubeconfig(tmp_path / "config", api.url, {"tokenFile": str(token)})
    client = await Client.connect(kubeconfig=kubeconfig)
    assert client._login is not None
    client._login._clock = clock
    client._login._read_at = clock()
    await client.get("/api/v1/things")
    assert api.headers[-1]["Authorization"] == "Bearer old"

    token.write_text("new")
    clock.advance(10)
    api.once(kit.refusing(401, "Unauthorized"))
    await client.get("/api/v1/things")
    assert api.headers[-1]["Authorization"] == "Bearer new"

    token.write_text("newer")
    clock.advance(61)
    await client.get("/api/v1/things")
    assert api.headers[-1]["Authorization"] == "Bearer newer"

    token.unlink()
    clock.advance(61)
    await client.get("/api/v1/things")
    assert api.headers[-1]["Authorization"] == "Bearer newer"

    requests = len(api.requests)
    api.once(kit.refusing(401, "Unauthorized"))
    with pytest.raises(ApiError, match="401"):
        await client.get("/api/v1/things")
    assert len(api.requests) == requests + 1
    await client.close()


async def test_the_token_of_an_exec_plugin_is_used(api: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    version = "client.authentication.k8s.io/v1"
    plugin.write_text(
        "#!/bin/sh\n"
        f'echo \'{{"apiVersion": "{version}", "kind": "ExecCredential",'
        ' "status": {"token": "from-plugin"}}\'\n'
    )
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": version, "command": str(plugin), "args": []}}
    client = await Client.connect(kubeconfig=write_kubeconfig(tmp_path / "config", api.url, user))
    await client.get("/api/v1/things")
    assert api.headers[-1]["Authorization"] == "Bearer from-plugin"
    await client.close()


async def test_without_pod_and_kubeconfig_it_is_said_where_was_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(Exception, match=r"there is no kubeconfig at .*none"):
        await credentials.load()


@pytest.mark.parametrize(
    ("url", "bypasses"),
    [
        ("https://127.0.0.1:6443", True),
        ("https://[::1]:6443", True),
        ("http://localhost:8080", True),
        ("https://10.96.0.1:443", True),
        ("https://192.168.0.7", True),
        ("https://192.168.1.7", False),
        ("https://example.org", False),
    ],
)
def test_networks_in_no_proxy_are_reached_directly(
    url: str, bypasses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "example.com, 10.96.0.0/12,192.168.0.7")
    assert bypasses_proxy(url) is bypasses


def test_the_proxy_is_the_one_in_the_environment_for_the_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "exempt.example.com,10.96.0.0/12")
    assert proxy_for("https://api.example.com:6443") == "http://proxy.example.com:3128"
    monkeypatch.delenv("http_proxy", raising=False)
    assert proxy_for("http://api.example.com") is None
    assert proxy_for("https://exempt.example.com") is None
    assert proxy_for("https://10.96.0.1") is None
    assert proxy_for("https://127.0.0.1:6443") is None


def test_paths_are_those_of_the_api_server() -> None:
    pods = Resource("", "v1", "pods", "Pod")
    assert pods.path() == "/api/v1/pods"
    assert pods.path("ns", "p", "log") == "/api/v1/namespaces/ns/pods/p/log"
    jobs = Resource("batch", "v1", "jobs", "Job")
    assert jobs.path("ns") == "/apis/batch/v1/namespaces/ns/jobs"
    assert jobs.api_version == "batch/v1"
    nodes = Resource("", "v1", "nodes", "Node", namespaced=False)
    assert nodes.path("ns", "a/b") == "/api/v1/nodes/a%2Fb"
    with pytest.raises(ValueError, match="needs a namespace"):
        pods.path(name="p")
