"""A job that arrives while many others are being handled: how soon it has its batch Job."""

import asyncio
import time

from figures import Figure, Report, at_most, quantile

from lepton_operator.app.resources import JOBS, TRAINING_JOBS
from lepton_operator.engine.client import Client
from scale.cluster import Watched, create_all, job_states, namespace, watching
from scale.manifests import IMAGE, training_job
from scale.process import Operator

OTHERS, NEWCOMERS = 1000, 60


async def measure(client: Client, report: Report) -> None:
    """Newcomers one by one, while the others' pods start, run for a while and end."""
    operator = Operator(IMAGE)
    waits: list[float] = []
    creations: list[float] = []
    try:
        await operator.leading()
        async with (
            namespace(client, "bench-others") as others,
            namespace(client, "bench-newcomers") as where,
        ):
            batch = Watched(client, JOBS, where, job_states)
            async with watching(batch), asyncio.TaskGroup() as group:
                names = (f"job-{number}" for number in range(OTHERS))
                crowd = (training_job(others, name, 1, "30s") for name in names)
                group.create_task(create_all(client, TRAINING_JOBS, crowd))
                for number in range(1, NEWCOMERS + 1):
                    await asyncio.sleep(1)
                    begin = time.monotonic()
                    manifest = training_job(where, f"new-{number}", 1, "30s")
                    await create_all(client, TRAINING_JOBS, [manifest])
                    # The API server, busy with the creation of the others, takes its time to
                    # accept it; nobody else can know of it before.
                    accepted = time.monotonic()
                    creations.append(accepted - begin)
                    waits.append(max(0.0, await batch.reached("created", number, 120) - accepted))
    finally:
        await operator.stop()
    p99 = quantile(waits, 0.99)
    name = f"a new job among {OTHERS:,}: accepted to batch Job, p99"
    detail = (
        f"median {quantile(waits, 0.5):.2f} s of {NEWCOMERS}; to be accepted it took up to "
        f"{max(creations):.2f} s"
    )
    report.add(Figure(name, p99, "s", *at_most(p99, 2), detail))
