"""An operator that starts among thousands of jobs that run: how soon it has seen all of them, what
that takes, and that it writes nothing where nothing has changed."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from figures import Figure, Report, at_most, quantile

from lepton_operator.api.job import TrainingJob
from lepton_operator.app.resources import JOBS, PODS, TRAINING_JOBS, resource_of
from lepton_operator.engine.client import MERGE_PATCH, Client
from lepton_operator.reconcile.decide import decide
from lepton_operator.reconcile.observed import (
    ANNOTATION_INDEX,
    JobView,
    Observed,
    PlainView,
    PodView,
)
from lepton_operator.reconcile.settings import NetworkAccess, Settings
from scale.cluster import Json, Watched, concurrently, namespace, pod_states, watching
from scale.manifests import IMAGE, training_job
from scale.pods import answering
from scale.process import Operator

WORKERS = 4
SETTINGS = Settings(trainer_image=IMAGE, network=NetworkAccess("default"))
QUIET_SECONDS = 15.0
"""How long it is watched for writes once it has worked on all jobs."""


async def write_running_job(client: Client, where: str, name: str, node: str) -> None:
    """A job that runs, with all its objects, as the operator would have made them.

    The Job controller is told to keep away: it would count pods that it has not made.
    """
    answer = await client.post(TRAINING_JOBS.path(where), training_job(where, name, WORKERS, "24h"))
    job, now = TrainingJob.from_object(answer), datetime.now(UTC)
    plan = decide(job, Observed(), SETTINGS, now)
    made: dict[str, Json] = {}
    for manifest in plan.create:
        resource, body = resource_of(manifest["kind"], manifest["apiVersion"]), dict(manifest)
        if resource == JOBS:
            body["spec"] = {**body["spec"], "managedBy": "lepton.test/benchmark"}
        made[manifest["kind"]] = await client.post(resource.path(where), body)
    batch = made["Job"]
    began = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {"status": {"active": WORKERS, "ready": WORKERS, "startTime": began}}
    path = JOBS.path(where, batch["metadata"]["name"], "status")
    batch = await client.patch(path, running, MERGE_PATCH)
    pods = [
        await client.post(PODS.path(where), pod_of(batch, rank, node)) for rank in range(WORKERS)
    ]
    views = (replace(PodView.from_object(pod), phase="Running", ready=True) for pod in pods)
    plan = decide(
        replace(job, status=plan.status),
        Observed(
            jobs=(JobView.from_object(batch),),
            pods=tuple(views),
            services=(PlainView.from_object(made["Service"]),),
            policies=(PlainView.from_object(made["NetworkPolicy"]),),
        ),
        SETTINGS,
        now,
    )
    path = TRAINING_JOBS.path(where, name, "status")
    await client.patch(path, {"status": plan.status.to_json_object()}, MERGE_PATCH)


def pod_of(batch: Json, rank: int, node: str) -> Json:
    """A pod as the Job controller makes it, already on its node."""
    template = batch["spec"]["template"]
    metadata: dict[str, Any] = dict(template["metadata"])
    metadata["name"] = f"{batch['metadata']['name']}-{rank}-bench"
    metadata["annotations"] = {**metadata.get("annotations", {}), ANNOTATION_INDEX: str(rank)}
    metadata["ownerReferences"] = [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": batch["metadata"]["name"],
            "uid": batch["metadata"]["uid"],
            "controller": True,
        }
    ]
    return {"metadata": metadata, "spec": {**template["spec"], "nodeName": node}}


async def measure(client: Client, report: Report, jobs: int, nodes: int) -> None:
    """Write the objects, start the operator, and look on."""
    where = "bench-restart"
    async with namespace(client, where), answering(lambda: None):
        pods = Watched(client, PODS, where, pod_states)
        async with watching(pods):
            await concurrently(
                write_running_job(client, where, f"job-{n}", f"kwok-{n % nodes:05d}")
                for n in range(jobs)
            )
            await pods.reached("Running", jobs * WORKERS, 600)
        operator, lags = Operator(IMAGE), []
        asking = asyncio.create_task(ask(operator.url("/healthz"), lags))
        try:
            await operator.leading(within=300)
            while not await operator.is_idle(passes=jobs):
                await asyncio.sleep(2.0)
            converged = time.monotonic() - operator.started
            cpu, memory = operator.cpu_seconds, operator.peak_mebibytes
            await asyncio.sleep(QUIET_SECONDS)
            writes = await operator.requests()
        finally:
            asking.cancel()
            await operator.stop()
    title = f"start among {jobs:,} jobs and {jobs * WORKERS:,} pods"

    def add(name: str, value: float, unit: str, bound: float | None, detail: str = "") -> None:
        target, met = at_most(value, bound) if bound is not None else ("", None)
        report.add(Figure(f"{title}: {name}", value, unit, target, met, detail))

    add("all looked at", converged, "s", 60)
    add("memory of the operator", memory, "MiB", 600)
    add("CPU of the operator", cpu, "s", None)
    add("writes", sum(writes.values()), "", 0, str(writes) if writes else "")
    p99 = f"p99 {quantile(lags, 0.99):.2f} s of {len(lags):,} questions"
    add("longest answer of a probe", max(lags), "s", 0.5, p99)


async def ask(url: str, times: list[float]) -> None:
    """Ask a probe again and again, noting in how many seconds it answered: it does so once the
    event loop gets to it."""
    async with aiohttp.ClientSession() as session:
        while True:
            begin = time.monotonic()
            try:
                async with session.get(url) as answer:
                    await answer.read()
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
                continue
            times.append(time.monotonic() - begin)
            await asyncio.sleep(0.02)
