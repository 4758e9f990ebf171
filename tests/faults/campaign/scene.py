"""A namespace with a recorder, and operators behind proxies; several run side by side."""

import asyncio
import contextlib
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from campaign.process import OperatorProcess
from campaign.proxy import Exchange, Proxy
from campaign.recorder import Recorder
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.credentials import load

T = TypeVar("T")

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/lepton-operator"
PATIENCE = 240.0
"""Seconds to wait for what is to come; only there to end a test that has failed."""


@dataclass(frozen=True)
class Cluster:
    """Where the campaign takes place."""

    kubeconfig: Path
    trainer_image: str


@dataclass
class Seat:
    """A place for one operator: its proxy and its process."""

    proxy: Proxy
    process: OperatorProcess
    api: Client
    namespace: str

    def __post_init__(self) -> None:
        self.reviving: set[asyncio.Task[None]] = set()

    @property
    def leads(self) -> bool:
        """Whether the process that runs now has taken the lease."""
        renewals = (e for e in reversed(self.proxy.exchanges) if e.request.resource == "leases")
        return any(e.took_effect and e.request.writes for e in renewals)

    def crash(self) -> None:
        """SIGKILL, now; a successor starts as soon as the process is gone."""
        self.process.send(signal.SIGKILL)
        task = asyncio.create_task(self._revive())
        self.reviving.add(task)

    async def restart(self) -> None:
        """SIGKILL, and a successor that has started."""
        self.process.send(signal.SIGKILL)
        await self._revive()

    def keep_alive(self) -> None:
        """Start a successor whenever the process ends, as a kubelet does with a container."""
        self.reviving.add(asyncio.create_task(self._keep_alive()))

    async def _keep_alive(self) -> None:
        while True:
            await self.process.ended()
            await asyncio.sleep(1)
            await self._revive()

    async def _revive(self) -> None:
        await self.process.kill()
        await self.free_lease()
        await self.process.start()

    async def free_lease(self) -> None:
        """Its holder is known to be dead: the successor need not wait until the lease ends."""
        with contextlib.suppress(ApiError):
            await self.api.delete(LEASES.format(self.namespace))

    def check(self) -> None:
        """Raises what went wrong in the background."""
        for task in self.reviving:
            if task.done():
                task.result()


class Scene:
    """Made by `scene`; `seat` is the first operator's place."""

    def __init__(
        self, api: Client, namespace: str, recorder: Recorder, seats: list[Seat], folder: Path
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.recorder = recorder
        self.seats = seats
        self.folder = folder

    @property
    def seat(self) -> Seat:
        """The first operator's place."""
        return self.seats[0]

    @property
    def proxy(self) -> Proxy:
        """The first operator's way to the API server."""
        return self.seat.proxy

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests of all operators, in order of time."""
        return sorted((e for s in self.seats for e in s.proxy.exchanges), key=lambda e: e.time)

    async def until(self, what: str, look: Callable[[], T], patience: float = PATIENCE) -> T:
        """The first true value that `look` returns."""
        deadline = time.monotonic() + patience
        while True:
            for seat in self.seats:
                seat.check()
            value = look()
            if value:
                return value
            assert time.monotonic() < deadline, f"{what}: not so after {patience:.0f} s"
            await asyncio.sleep(0.05)

    async def quiet(
        self, seconds: float = 2.0, about: Callable[[str], bool] = lambda name: True
    ) -> None:
        """Wait until nobody has written anything for so long, to objects of such names."""

        def last() -> tuple[int, int]:
            written = (e for e in self.exchanges if _costs(e) and about(e.request.name))
            seen = (s for s in self.recorder.history if about(s.object["metadata"]["name"]))
            return sum(e.request.writes for e in written), sum(1 for _ in seen)

        known, since = last(), time.monotonic()
        deadline = since + PATIENCE
        while time.monotonic() - since < seconds:
            assert time.monotonic() < deadline, "it never becomes quiet"
            await asyncio.sleep(0.1)
            if last() != known:
                known, since = last(), time.monotonic()

    def account(self, error: BaseException) -> str:
        """What the operators said and asked, for a test that failed."""
        asked = "\n".join(
            f"{e.time:.2f} {e.request} {e.request.name} → {e.code}/{e.told}"
            f"{' struck' if e.struck else ''}"
            for e in self.exchanges
            if e.request.resource != "leases"
        )
        logs = "\n".join(seat.process.log[-20000:] for seat in self.seats)
        (self.folder / "account.txt").write_text(f"{error}\n{asked}\n{logs}")
        return f"{self.namespace}: requests and logs are in {self.folder}"


def _costs(exchange: Exchange) -> bool:
    return exchange.request.resource != "leases"


@contextlib.asynccontextmanager
async def scene(
    cluster: Cluster, folder: Path, *, seats: int = 1, start: bool = True
) -> AsyncIterator[Scene]:
    """A fresh namespace with so many operators, of which the first is started."""
    namespace = f"faults-{uuid.uuid4().hex[:8]}"
    folder = folder / namespace
    folder.mkdir(parents=True)
    login = await load(kubeconfig=str(cluster.kubeconfig))
    async with contextlib.AsyncExitStack() as stack:
        api = Client(login.host, login)
        stack.push_async_callback(api.close)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        await api.post(
            "/api/v1/namespaces",
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": namespace, "labels": labels},
            },
        )
        stack.push_async_callback(_forget, api, namespace)
        recorder = await stack.enter_async_context(Recorder(api, namespace))
        made = []
        for name in "abcd"[:seats]:
            proxy = await stack.enter_async_context(Proxy(login.host, login))
            process = OperatorProcess(
                proxy.url, namespace, cluster.trainer_image, folder, name=name
            )
            stack.push_async_callback(process.kill)
            made.append(Seat(proxy, process, api, namespace))
        here = Scene(api, namespace, recorder, made, folder)
        try:
            if start:
                await here.seat.process.start()
                await here.until("the operator leads", lambda: here.seat.leads)
            yield here
        except BaseException as error:
            error.add_note(here.account(error))
            raise
        finally:
            for seat in made:
                for task in seat.reviving:
                    task.cancel()


async def _forget(api: Client, namespace: str) -> None:
    with contextlib.suppress(ApiError):
        await api.delete(f"/api/v1/namespaces/{namespace}")
