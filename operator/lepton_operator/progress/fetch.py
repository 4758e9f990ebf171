"""Fetches `/progress` of a pod: directly inside the cluster, by the API server's proxy outside."""

from typing import Protocol

import aiohttp

from lepton.spec.report import Progress
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.reconcile.observed import PodView

MAX_BODY_BYTES = 65_536
TIMEOUT_SECONDS = 3.0


class FetchError(Exception):
    """The pod could not be asked, or its answer is not a progress report."""


class Fetch(Protocol):
    """Asks one pod for its progress; raises FetchError."""

    async def __call__(self, pod: PodView) -> Progress: ...


def parse_progress(body: bytes) -> Progress:
    """A report from its JSON; raises FetchError for anything else."""
    try:
        return Progress.model_validate_json(body)
    except ValueError as error:
        raise FetchError(
            f"the answer is not a progress report: {str(error).splitlines()[0]}"
        ) from None


class DirectFetch:
    """By the pod's own address; what the operator does inside the cluster."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            # Each pod is asked again only after seconds: a connection kept to each of thousands
            # would cost a descriptor and save nothing.
            connector=aiohttp.TCPConnector(limit=64, force_close=True),
            trust_env=False,
            auto_decompress=False,
        )

    async def __call__(self, pod: PodView) -> Progress:
        """Ask the pod."""
        if pod.ip is None:
            raise FetchError("the pod has no address yet")
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        url = f"http://{host}:{self._port}/progress"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise FetchError(f"the pod answered {response.status}")
                body = await response.content.read(MAX_BODY_BYTES + 1)
                while len(body) <= MAX_BODY_BYTES and not response.content.at_eof():
                    body += await response.content.read(MAX_BODY_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise FetchError(f"the pod does not answer: {error or type(error).__name__}") from None
        if len(body) > MAX_BODY_BYTES:
            raise FetchError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
        return parse_progress(body)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class ProxyFetch:
    """Through the API server's pod proxy, for an operator that runs outside the cluster."""

    def __init__(self, client: Client, port: int) -> None:
        self._client = client
        self._port = port

    async def __call__(self, pod: PodView) -> Progress:
        """Ask the pod."""
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}:{self._port}/proxy/progress"
        try:
            text = await self._client.get_text(path, most=MAX_BODY_BYTES)
        except ApiError as error:
            raise FetchError(f"the pod does not answer: {error}") from None
        return parse_progress(text.encode())

    async def close(self) -> None:
        """Nothing to close: the client is the engine's."""
