"""Jobs that move every second: how old what their status tells is, and what that costs."""

import asyncio
import time

from figures import Figure, Report, at_most, quantile

from lepton_operator.app.resources import PODS, TRAINING_JOBS
from lepton_operator.engine.client import Client
from scale.cluster import Json, Watched, create_all, namespace, pod_states, watching
from scale.manifests import IMAGE, training_job
from scale.pods import answering
from scale.process import Operator


async def measure(client: Client, report: Report, jobs: int, seconds: float, bound: float) -> None:
    """`jobs` running jobs of one worker, looked at for some seconds once each has shown a step."""
    begin = time.monotonic()

    def told() -> Json:
        step = int(time.monotonic() - begin)
        return {"step": step, "totalSteps": 1_000_000, "metrics": {"loss": 1.0 / (1 + step)}}

    operator = Operator(IMAGE)
    ages: list[float] = []
    try:
        await operator.leading()
        async with namespace(client, f"bench-progress-{jobs}") as where, answering(told):
            pods = Watched(client, PODS, where, pod_states)
            async with watching(pods):
                names = (f"job-{number}" for number in range(jobs))
                manifests = (training_job(where, name, 1, "3600s") for name in names)
                await create_all(client, TRAINING_JOBS, manifests)
                await pods.reached("Running", jobs, 300 + jobs)
            deadline = time.monotonic() + 120 + jobs
            while (silent := (await steps(client, where)).count(-1)) > 0:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{silent} of {jobs} jobs have not shown a step")
                await asyncio.sleep(2)
            writes, cpu = await operator.requests(), operator.cpu_seconds
            started = time.monotonic()
            while time.monotonic() < started + seconds:
                await asyncio.sleep(5)
                seen = await steps(client, where)
                now = time.monotonic() - begin
                ages += [now - step for step in seen]
            took = time.monotonic() - started
            after = await operator.requests()
            cpu_share = (operator.cpu_seconds - cpu) / took
            rate = sum(after[name] - writes.get(name, 0) for name in after) / took
    finally:
        await operator.stop()
    title = f"{jobs:,} running jobs"
    p99 = quantile(ages, 0.99)
    detail = f"median {quantile(ages, 0.5):.1f} s; {len(ages):,} looks in {took:.0f} s"
    report.add(Figure(f"{title}: age of status, p99", p99, "s", *at_most(p99, bound), detail))
    detail = f"{100 * cpu_share:.0f} % of a core"
    report.add(Figure(f"{title}: writes of the operator", rate, "/s", *at_most(rate, 60), detail))


async def steps(client: Client, where: str) -> list[int]:
    """The step that each job's status tells; -1 where none is told yet."""
    found: list[int] = []
    params = {"limit": "500"}
    while True:
        page = await client.get(TRAINING_JOBS.path(where), params, timeout=60.0)
        told = (item.get("status", {}).get("progress", {}) for item in page["items"])
        found += [progress.get("step", -1) for progress in told]
        if not (token := page["metadata"].get("continue")):
            return found
        params["continue"] = token
