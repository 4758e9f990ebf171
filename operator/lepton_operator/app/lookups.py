"""What is read of the API server for few jobs and moments only, so that no cache is kept of it."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from lepton_operator.api.names import LABEL_JOB_NAME
from lepton_operator.app.discovery import kueues_workloads
from lepton_operator.app.resources import JOBS, LIMIT_RANGES, NODES, PODS, QUOTAS
from lepton_operator.engine.client import JSON, PAGE, ApiError, Client
from lepton_operator.engine.resources import Resource
from lepton_operator.reconcile.observed import (
    JobView,
    MemoryLimits,
    NodeView,
    NoWorkload,
    Observed,
    PodView,
    WorkloadView,
)
from lepton_operator.reconcile.plan import LookUp, Wait
from lepton_operator.reconcile.queueing import ASKED_EVERY
from lepton_operator.reconcile.scheduling import REGION

log = logging.getLogger(__name__)

FEW_NODES = 16
"""Up to so many are read one by one; a list of all is cheaper for more."""
METADATA_OF_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_OF_ALL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
JOB_UID_LABEL = "kueue.x-k8s.io/job-uid"
"""Of a Workload: the UID of the Job that it was made of.
https://kueue.sigs.k8s.io/docs/reference/labels-and-annotations/"""
NOT_OURS_TO_SEE = (403, 404)
"""An administrator may have kept these rights from us; then nothing is known, which will do."""


class Lookups:
    """Answers what a plan asks to look up. Raises ApiError where asking again may help."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._workloads: Resource | None = None
        """Kueue's, in the version that the API server prefers; None until it was asked."""
        self._said: dict[Wait, tuple[float, WorkloadView | NoWorkload]] = {}
        """What Kueue said lately of Jobs that wait, and when it was asked; the oldest first."""

    async def with_answers(self, wanted: LookUp, observed: Observed, namespace: str) -> Observed:
        """What was observed, and the answers."""
        if wanted.limits:
            ranges = [item async for item in self._list(LIMIT_RANGES, namespace)]
            quotas = [item async for item in self._list(QUOTAS, namespace)]
            observed = replace(observed, limits=MemoryLimits.from_objects(ranges, quotas))
        if wanted.nodes:
            # Trimmed one by one: a node says a lot about itself.
            nodes = [NodeView.from_object(item) async for item in self._list(NODES)]
            observed = replace(observed, nodes=tuple(nodes))
        if wanted.job is not None:
            observed = replace(observed, looked_up_job=await self._job(namespace, wanted.job))
        if wanted.pods_of is not None:
            selected = {"labelSelector": f"{LABEL_JOB_NAME}={wanted.pods_of}"}
            pods = [PodView.from_object(i) async for i in self._list(PODS, namespace, **selected)]
            observed = replace(observed, pods=tuple(pods), pods_looked_up=True)
        if wanted.wait is not None:
            said = await self._said_by_kueue(namespace, wanted.wait)
            observed = replace(observed, workload=said)
        if wanted.regions_of:
            observed = replace(observed, regions=await self._regions(wanted.regions_of))
        return observed

    async def _job(self, namespace: str, name: str) -> tuple[JobView, ...]:
        try:
            return (JobView.from_object(await self._client.get(JOBS.path(namespace, name))),)
        except ApiError as error:
            if error.status != 404:
                raise
            return ()

    async def _said_by_kueue(self, namespace: str, wait: Wait) -> WorkloadView | NoWorkload:
        """Why a batch Job waits: a queued job is looked at far more often than Kueue has news of
        it, so an answer is kept."""
        now, kept = self._clock(), ASKED_EVERY.total_seconds()
        while self._said and now - next(iter(self._said.values()))[0] >= kept:
            del self._said[next(iter(self._said))]
        if wait in self._said and now - self._said[wait][0] < kept:
            return self._said[wait][1]
        said = await self._ask_kueue(namespace, wait.job_uid)
        self._said.pop(wait, None)
        self._said[wait] = now, said
        return said

    async def _ask_kueue(self, namespace: str, uid: str) -> WorkloadView | NoWorkload:
        """Whatever goes wrong is an answer too: it is for people, and nothing depends on it."""
        try:
            if self._workloads is None:
                self._workloads = await kueues_workloads(self._client)
            path = self._workloads.path(namespace)
            # Out of the API server's cache: what is a moment old will do.
            select = {"labelSelector": f"{JOB_UID_LABEL}={uid}", "resourceVersion": "0"}
            found = await self._client.get(path, select)
        except ApiError as error:
            if error.status == 404:
                # Another version of Kueue may have come that serves another of its API.
                self._workloads = None
            log.info("workloads of Kueue can't be read: %s", error)
            return NoWorkload.NOT_READABLE
        return WorkloadView.of_job(found.get("items") or (), uid)

    async def _regions(self, names: frozenset[str]) -> dict[str, str | None]:
        """Regions by node; of a node that has none, is gone, or is not ours to see, None."""
        found: dict[str, str | None] = dict.fromkeys(names)
        if len(names) > FEW_NODES:
            async for item in self._list(NODES, accept=METADATA_OF_ALL):
                name = item["metadata"]["name"]
                if name in found:
                    found[name] = _region(item)
            return found
        for name in sorted(names):
            try:
                node = await self._client.get(NODES.path(name=name), accept=METADATA_OF_ONE)
            except ApiError as error:
                if error.status not in NOT_OURS_TO_SEE:
                    raise
                log.info("node %s can't be read: %s", name, error)
                continue
            found[name] = _region(node)
        return found

    async def _list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        accept: str = JSON,
        **select: str,
    ) -> AsyncIterator[dict[str, Any]]:
        """All objects, page by page; none where we may not see them."""
        params = {"limit": str(PAGE), **select}
        while True:
            try:
                page = await self._client.get(resource.path(namespace), params, accept=accept)
            except ApiError as error:
                if error.status not in NOT_OURS_TO_SEE:
                    raise
                log.info("%s can't be listed: %s", resource.plural, error)
                return
            for item in page.get("items") or ():
                yield item
            following = page["metadata"].get("continue")
            if not following:
                return
            params["continue"] = following


def _region(node: dict[str, Any]) -> str | None:
    region: str | None = (node["metadata"].get("labels") or {}).get(REGION)
    return region
