"""kopf: logs in, watches LeptonTrainingJobs, handles signals. Its handlers can't raise.

Handlers only hand an object on. Everything else (children, writes, retries, time) is the
engine's, because kopf drops an event whose patch failed, and never reports objects that were
deleted while its watch had a gap.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import kopf

from lepton_operator.api import names


def endless_backoffs() -> Iterator[float]:
    """1, 2, 4, ... 30 seconds and 30 ever after, each with jitter: kopf must never give up."""
    for attempt in itertools.count():
        yield min(30.0, 2.0 ** min(attempt, 5)) * random.uniform(0.5, 1.0)


class EndlessBackoffs:
    """An iterable that starts anew for every request."""

    def __iter__(self) -> Iterator[float]:
        return endless_backoffs()


def kopf_settings() -> kopf.OperatorSettings:
    """Settings under which kopf watches and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1.0
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.persistence.finalizer = f"{names.GROUP}/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=names.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=names.GROUP)
    settings.process.ultimate_exiting_timeout = 25
    return settings


def registry(
    on_seen: Callable[[dict[str, Any]], None], on_deleted: Callable[[dict[str, Any]], None]
) -> kopf.OperatorRegistry:
    """kopf's handlers: one that logs in, one that hands every watch event on."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**arguments) or kopf.login_via_client(**arguments)

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers)
    async def seen(event: Any, **_: Any) -> None:
        handle = on_deleted if event["type"] == "DELETED" else on_seen
        handle(dict(event["object"]))

    return handlers


async def watch(
    *,
    on_seen: Callable[[dict[str, Any]], None],
    on_deleted: Callable[[dict[str, Any]], None],
    namespace: str | None,
    stop: asyncio.Event,
    ready: asyncio.Event,
) -> None:
    """Run kopf until a signal arrives or `stop` is set."""
    await kopf.operator(
        registry=registry(on_seen, on_deleted),
        settings=kopf_settings(),
        clusterwide=namespace is None,
        namespaces=[namespace] if namespace else [],
        stop_flag=stop,
        ready_flag=ready,
    )
