"""One job alone: how soon its first pod is there, and how soon its end is told."""

import statistics
import time

from figures import Figure, Report, at_most, spread

from lepton_operator.app.resources import JOBS, PODS, TRAINING_JOBS
from lepton_operator.engine.client import Client
from scale.cluster import (
    Watched,
    create_all,
    job_states,
    namespace,
    pod_states,
    training_job_states,
    watching,
)
from scale.manifests import IMAGE, training_job
from scale.process import Operator

JOBS_IN_TURN = 20


async def measure(client: Client, report: Report) -> None:
    """One worker each, one job after the other."""
    starts, ends = [], []
    operator = Operator(IMAGE)
    try:
        await operator.leading()
        async with namespace(client, "bench-alone") as where:
            pods = Watched(client, PODS, where, pod_states)
            batch = Watched(client, JOBS, where, job_states)
            training = Watched(client, TRAINING_JOBS, where, training_job_states)
            async with watching(pods, batch, training):
                for number in range(1, JOBS_IN_TURN + 1):
                    name = f"job-{number}"
                    begin = time.monotonic()
                    await create_all(client, TRAINING_JOBS, [training_job(where, name, 1, "1s")])
                    starts.append(await pods.reached("created", number, 60) - begin)
                    complete = await batch.reached("Complete", number, 60)
                    # Two watches: what is told may be seen before what it tells of.
                    told = await training.reached("Complete", number, 60)
                    ends.append(max(0.0, told - complete))
            requests, for_what = await operator.requests_a_job(JOBS_IN_TURN)
    finally:
        await operator.stop()
    for name, values, bound in (
        ("one job alone: create to first pod", starts, 60.0),
        ("one job alone: Job complete to status says so", ends, 50.0),
    ):
        milliseconds = [1000 * value for value in values]
        value = statistics.median(milliseconds)
        report.add(Figure(name, value, "ms", *at_most(value, bound), spread(milliseconds)))
    target, met = at_most(requests, 5)
    name = "one worker: requests of the operator a job"
    report.add(Figure(name, requests, "", target, met, for_what))
