"""An operator that starts among more and more jobs that run: how soon it has seen all of them, what
that costs a job, and that it writes nothing where nothing has changed."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from figures import Figure, Report, at_most, quantile

from lepton_operator.api.job import TrainingJob
from lepton_operator.app.resources import JOBS, PODS, TRAINING_JOBS, resource_of
from lepton_operator.engine.client import MERGE_PATCH, Client
from lepton_operator.engine.resources import Resource
from lepton_operator.reconcile.decide import decide
from lepton_operator.reconcile.observed import (
    ANNOTATION_INDEX,
    JobView,
    Observed,
    PlainView,
    PodView,
)
from lepton_operator.reconcile.settings import NetworkAccess, Settings
from scale.cluster import (
    NAMESPACES,
    Json,
    Watched,
    concurrently,
    create,
    patiently,
    pod_states,
    watching,
)
from scale.manifests import IMAGE, training_job
from scale.pods import answering
from scale.process import Operator
from steps import say

WORKERS = 4
SETTINGS = Settings(trainer_image=IMAGE, network=NetworkAccess("default"))
SETTLING_SECONDS = 10.0
"""For the control plane's own controllers, after the last pod runs."""
QUIET_SECONDS = 15.0
"""How long it is watched for writes once it has worked on all jobs."""
MANY = 1000
"""Jobs from which on the cost of a job can be told from the noise of a start."""


async def write_running_job(client: Client, where: str, name: str, node: str) -> None:
    """A job that runs, with all its objects, as the operator would have made them.

    The Job controller is told to keep away: it would count pods that it has not made.
    """
    now = datetime.now(UTC)
    stored = await create(client, TRAINING_JOBS, training_job(where, name, WORKERS, "24h"))
    job = TrainingJob.from_object(stored)
    # The first look counts the attempt, the second makes its objects.
    job = replace(job, status=decide(job, Observed(), SETTINGS, now).status)
    plan = decide(job, Observed(), SETTINGS, now)
    job, made = replace(job, status=plan.status), {}
    for manifest in plan.create:
        resource, body = resource_of(manifest["kind"], manifest["apiVersion"]), dict(manifest)
        if resource == JOBS:
            body["spec"] = {**body["spec"], "managedBy": "lepton.test/benchmark"}
        made[manifest["kind"]] = await create(client, resource, body)
    began = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {"active": WORKERS, "ready": WORKERS, "startTime": began}
    batch = await write_status(client, JOBS, made["Job"], running)
    made_pods = [await create(client, PODS, pod_of(batch, rank, node)) for rank in range(WORKERS)]
    pods = [PodView.from_object(await with_address(client, pod)) for pod in made_pods]
    observed = Observed(
        jobs=(JobView.from_object(batch),),
        pods=tuple(replace(pod, phase="Running", ready=True) for pod in pods),
        services=(PlainView.from_object(made["Service"]),),
        policies=(PlainView.from_object(made["NetworkPolicy"]),),
    )
    plan = decide(job, observed, SETTINGS, now)
    for manifest in plan.create:
        resource = resource_of(manifest["kind"], manifest["apiVersion"])
        await create(client, resource, dict(manifest))
    await write_status(client, TRAINING_JOBS, stored, plan.status.to_json_object())


async def with_address(client: Client, pod: Json) -> Json:
    """The pod, once kwok has given it an address. Raises TimeoutError."""
    path = PODS.path(pod["metadata"]["namespace"], pod["metadata"]["name"])
    async with asyncio.timeout(300):
        while "podIP" not in (pod.get("status") or {}):
            await asyncio.sleep(0.2)
            pod = await patiently(lambda: client.get(path))
    return pod


async def write_status(client: Client, resource: Resource, item: Json, status: Json) -> Json:
    """Give an object a status; returns the object."""
    metadata = item["metadata"]
    path = resource.path(metadata["namespace"], metadata["name"], "status")
    return await patiently(lambda: client.patch(path, {"status": status}, MERGE_PATCH))


def pod_of(batch: Json, rank: int, node: str) -> Json:
    """A pod as the Job controller makes it, already on its node."""
    template = batch["spec"]["template"]
    metadata: dict[str, Any] = dict(template["metadata"])
    metadata["namespace"] = batch["metadata"]["namespace"]
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


@dataclass(frozen=True)
class Start:
    """What a start took."""

    seconds: float
    """Until all jobs were looked at."""
    cpu_seconds: float
    """Until then."""
    mebibytes: float
    """At most, also in the quiet time after it."""
    writes: dict[str, int]
    probe_seconds: list[float]
    """How long each question of a probe waited for its answer."""


async def start(jobs: int) -> Start:
    """Start the operator among so many jobs, look on, and stop it."""
    operator, answers = Operator(IMAGE), list[float]()
    asking = asyncio.create_task(ask(operator.url("/healthz"), answers))
    try:
        await operator.leading(within=300)
        while not await operator.is_idle(passes=jobs):
            if asking.done():
                await asking
            if time.monotonic() > operator.started + 600:
                raise TimeoutError(f"the operator has not looked at {jobs} jobs within 600 s")
            await operator.pause(0.5)
        seconds, cpu = time.monotonic() - operator.started, operator.cpu_seconds
        await asyncio.sleep(QUIET_SECONDS)
        memory, writes = operator.peak_mebibytes, await operator.requests()
    finally:
        asking.cancel()
        await operator.stop()
    return Start(seconds, cpu, memory, writes, answers)


async def measure(client: Client, report: Report, sizes: Sequence[int], nodes: int) -> None:
    """Write jobs up to a size, start the operator, and look on; then write up to the next size.

    Nothing is deleted, which would take longer than all the rest: the cluster is to be stopped.
    """
    where = "bench-restart"
    await client.post(NAMESPACES.path(), {"metadata": {"name": where}})
    pods, written = Watched(client, PODS, where, pod_states), 0
    per_job: dict[int, tuple[float, float]] = {}
    async with answering(lambda: None):
        empty = await start(0)
        for jobs in sorted(sizes):
            async with watching(pods):
                begin = time.monotonic()
                await concurrently(
                    write_running_job(client, where, f"job-{n}", f"kwok-{n % nodes:05d}")
                    for n in range(written, jobs)
                )
                await pods.reached("Running", jobs * WORKERS, 600)
            say(f"{jobs - written:,} jobs written in {time.monotonic() - begin:.0f} s")
            written = jobs
            await asyncio.sleep(SETTLING_SECONDS)
            per_job[jobs] = tell(report, jobs, await start(jobs), empty)
    fewer, most = min((size for size in per_job if size >= MANY), default=0), max(per_job)
    if 0 < fewer < most:
        costs = zip(("CPU", "memory"), per_job[fewer], per_job[most], strict=True)
        for what, before, after in costs:
            name = f"{what} a job: {most:,} jobs against {fewer:,}"
            report.add(Figure(name, after / before, "times", *at_most(after / before, 1.2)))


def tell(report: Report, jobs: int, took: Start, empty: Start) -> tuple[float, float]:
    """Report a start; returns the milliseconds of CPU and the KiB of memory that each job took
    beside what an operator takes that has none."""
    title = f"start among {jobs:,} jobs and {jobs * WORKERS:,} pods"

    def add(name: str, value: float, unit: str, bound: float | None, detail: str = "") -> None:
        target, met = at_most(value, bound) if bound is not None else ("", None)
        report.add(Figure(f"{title}: {name}", value, unit, target, met, detail))

    milliseconds = 1000 * (took.cpu_seconds - empty.cpu_seconds) / jobs
    kibibytes = 1024 * (took.mebibytes - empty.mebibytes) / jobs
    add("all looked at", took.seconds, "s", 60)
    detail = f"{took.cpu_seconds:.1f} s in all, {empty.cpu_seconds:.1f} s with no job"
    add("CPU of the operator a job", milliseconds, "ms", None, detail)
    add("memory of the operator", took.mebibytes, "MiB", 600)
    detail = f"beside {empty.mebibytes:.0f} MiB with no job"
    add("memory of the operator a job", kibibytes, "KiB", None, detail)
    add("writes", sum(took.writes.values()), "", 0, str(took.writes) if took.writes else "")
    answers = took.probe_seconds
    p99 = f"p99 {quantile(answers, 0.99):.2f} s of {len(answers):,} questions"
    add("longest answer of a probe", max(answers), "s", 0.5, p99)
    return milliseconds, kibibytes


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
