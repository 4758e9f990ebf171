"""Many jobs created at once: until all pods run, and until all are told to be complete."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from figures import Figure, Report, at_most, quantile

from lepton_operator.api.job import TrainingJob
from lepton_operator.api.validation import parse_spec
from lepton_operator.app.resources import JOBS, PODS, TRAINING_JOBS
from lepton_operator.engine.client import MERGE_PATCH, Client
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.settings import Settings
from scale.cluster import (
    Json,
    Watched,
    concurrently,
    create,
    create_all,
    job_states,
    namespace,
    patiently,
    pod_states,
    training_job_states,
    watching,
)
from scale.manifests import IMAGE, plain_job, training_job
from scale.process import ControlPlane, Operator

WORKERS = 4

Write = Callable[[Client, str, str, float], Awaitable[None]]
"""Makes one job of a namespace and a name, whose pods run for some seconds."""


@dataclass(frozen=True)
class Burst:
    """Seconds."""

    all_running: float
    """From the first creation."""
    all_complete: float
    """From the last pod that succeeded."""
    running_lag: list[float]
    """For each job, from its last pod running to its status that says so."""
    complete_lag: list[float]
    """For each job, from its batch Job complete to its status that says so."""
    control_plane: dict[str, float]
    """CPU of each of its processes until all pods run."""
    cpu_seconds: float = 0.0
    mebibytes: float = 0.0
    mebibytes_before: float = 0.0
    """Of the operator when there was no job yet."""
    requests: float = 0.0
    """Of the operator, per job."""
    for_what: str = ""


def by_job(times: dict[str, float], job_of: Callable[[str], str]) -> dict[str, float]:
    """The last time of each job's pods."""
    last: dict[str, float] = {}
    for name, at in times.items():
        last[job_of(name)] = max(at, last.get(job_of(name), 0.0))
    return last


def lags(told: dict[str, float], happened: dict[str, float]) -> list[float]:
    """By how much what is told comes later than what happened; what is seen first has no lag."""
    return [max(0.0, told[name] - happened[name]) for name in told if name in happened]


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """By how much each has grown."""
    return {name: value - before[name] for name, value in after.items()}


def run_for(jobs: int) -> float:
    """How long pods run, so that all of them are seen running before the first one ends."""
    return 20.0 + jobs * 0.15


async def write_plain(client: Client, where: str, name: str, seconds: float) -> None:
    """The floor: a batch Job."""
    await create(client, JOBS, plain_job(where, name, WORKERS, f"{seconds}s"))


async def write_least(client: Client, where: str, name: str, seconds: float) -> None:
    """What no operator can do without that counts an attempt before its Job exists: a
    LeptonTrainingJob, which is nobody's, one write of its status, and the same batch Job."""
    await write_counted(client, where, name, seconds)
    await write_plain(client, where, name, seconds)


async def write_least_with_our_pods(client: Client, where: str, name: str, seconds: float) -> None:
    """The same with the Job that the operator makes, whose pods have torchrun's environment and
    keep to the restricted profile; no Service, addresses or policy."""
    job = TrainingJob.from_object(await write_counted(client, where, name, seconds))
    batch = manifests.batch_job(job, parse_spec(job.spec), 1, Settings(trainer_image=IMAGE))
    await create(client, JOBS, batch)


async def write_counted(client: Client, where: str, name: str, seconds: float) -> Json:
    """A LeptonTrainingJob that is nobody's, whose status counts an attempt; returns it."""
    job = training_job(where, name, WORKERS, f"{seconds}s", managedBy="lepton.test/nobody")
    await create(client, TRAINING_JOBS, job)
    path = TRAINING_JOBS.path(where, name, "status")
    return await patiently(lambda: client.patch(path, {"status": {"attempt": 1}}, MERGE_PATCH))


BETWEEN = {
    "a resource, its status once and a plain Job": write_least,
    "the same with our pods": write_least_with_our_pods,
}
"""What an operator with a resource of its own takes before it makes anything else."""


async def written(client: Client, jobs: int, write: Write) -> Burst:
    """Jobs that a script writes, without an operator."""
    processes = ControlPlane()
    seconds, within = run_for(jobs), 120.0 + jobs * 0.6
    async with namespace(client, f"bench-{write.__name__.replace('_', '-')}-{jobs}") as where:
        pods = Watched(client, PODS, where, pod_states)
        batch = Watched(client, JOBS, where, job_states)
        async with watching(pods, batch):
            begin, before = time.monotonic(), processes.cpu_seconds()
            await concurrently(
                write(client, where, f"job-{number}", seconds) for number in range(jobs)
            )
            running = await pods.reached("Running", jobs * WORKERS, within)
            control_plane = difference(processes.cpu_seconds(), before)
            succeeded = await pods.reached("Succeeded", jobs * WORKERS, within + seconds)
            complete = await batch.reached("Complete", jobs, within)
    return Burst(running - begin, complete - succeeded, [], [], control_plane)


async def ours(client: Client, jobs: int, **spec: object) -> Burst:
    """The same as LeptonTrainingJobs, with an operator that was started for it."""
    seconds, within = run_for(jobs), 180.0 + jobs * 1.0
    processes, operator = ControlPlane(), Operator(IMAGE)
    try:
        await operator.leading()
        cpu_before, mebibytes_before = operator.cpu_seconds, operator.peak_mebibytes
        async with namespace(client, f"bench-ours-{jobs}") as where:
            pods = Watched(client, PODS, where, pod_states)
            batch = Watched(client, JOBS, where, job_states)
            training = Watched(client, TRAINING_JOBS, where, training_job_states)
            async with watching(pods, batch, training):
                begin, before = time.monotonic(), processes.cpu_seconds()
                names = [f"job-{number}" for number in range(jobs)]
                manifests = (
                    training_job(where, name, WORKERS, f"{seconds}s", **spec) for name in names
                )
                await create_all(client, TRAINING_JOBS, manifests)
                running = await pods.reached("Running", jobs * WORKERS, within)
                control_plane = difference(processes.cpu_seconds(), before)
                control_plane["operator"] = operator.cpu_seconds - cpu_before
                succeeded = await pods.reached("Succeeded", jobs * WORKERS, within + seconds)
                complete = await training.reached("Complete", jobs, within)
            cpu = operator.cpu_seconds - cpu_before
            requests, for_what = await operator.requests_a_job(jobs)
            mebibytes = operator.peak_mebibytes
    finally:
        await operator.stop()
    # A pod is called job-17-1-0-abcde: job, attempt, rank.
    pods_running = by_job(pods.times("Running"), lambda name: name.rsplit("-", 3)[0])
    jobs_complete = by_job(batch.times("Complete"), lambda name: name.rsplit("-", 1)[0])
    return Burst(
        running - begin,
        complete - succeeded,
        lags(training.times("Running"), pods_running),
        lags(training.times("Complete"), jobs_complete),
        control_plane,
        cpu,
        mebibytes,
        mebibytes_before,
        requests,
        for_what,
    )


async def measure(client: Client, report: Report, jobs: int, rounds: int) -> None:
    """Ours, the floor, and what lies between in turn; at the end ours once with native gangs."""
    floors: list[Burst] = []
    bursts: list[Burst] = []
    between: dict[str, list[Burst]] = {name: [] for name in BETWEEN}
    for _ in range(rounds):
        floors.append(await written(client, jobs, write_plain))
        for name, write in BETWEEN.items():
            between[name].append(await written(client, jobs, write))
        bursts.append(await ours(client, jobs))
    placed_together = await ours(client, jobs, scheduling={"gang": "Native"})
    title = f"{jobs:,} × {WORKERS}"

    def add(
        name: str, value: float, unit: str, bound: float | None = None, detail: str = ""
    ) -> None:
        target, met = at_most(value, bound) if bound is not None else ("", None)
        report.add(Figure(f"{title}: {name}", value, unit, target, met, detail))

    middle = statistics.median
    add("plain Jobs, all pods running", middle(f.all_running for f in floors), "s")
    add("all pods running", middle(b.all_running for b in bursts), "s")
    for name, found in {**between, "all pods running": bursts}.items():
        against = [b.all_running / f.all_running for b, f in zip(found, floors, strict=True)]
        bound = 1.1 if found is bursts else None
        add(f"{name}, against plain Jobs", middle(against), "times", bound)
    for name, found in {"plain Jobs": floors, **between, "LeptonTrainingJobs": bursts}.items():
        each = {
            who: middle(1000 * burst.control_plane[who] / jobs for burst in found)
            for who in found[0].control_plane
        }
        detail = ", ".join(f"{who} {spent:.1f}" for who, spent in each.items() if spent >= 0.05)
        name = f"{name}, CPU of all that runs until all pods run, a job"
        add(name, sum(each.values()), "ms", detail=detail)
    floor = middle(f.all_complete for f in floors)
    add("plain Jobs, last pod succeeded to all complete", floor, "s")
    add(
        "last pod succeeded to all complete", middle(b.all_complete for b in bursts), "s", floor + 5
    )
    running = [lag for b in bursts for lag in b.running_lag]
    complete = [lag for b in bursts for lag in b.complete_lag]
    p99 = f"p99 {quantile(running, 0.99):.2f} s"
    add("last pod running to status says so, p50", middle(running), "s", 8, p99)
    p99 = f"p99 {quantile(complete, 0.99):.2f} s"
    add("Job complete to status says so, p50", middle(complete), "s", 2, p99)
    add(
        "requests of the operator a job",
        middle(b.requests for b in bursts),
        "",
        7,
        bursts[-1].for_what,
    )
    # The namespace's Service is made once for all of them.
    add(
        "requests of the operator a job, with a native gang",
        placed_together.requests,
        "",
        7 + 1 / jobs,
        placed_together.for_what,
    )
    cpu = middle(b.cpu_seconds for b in bursts)
    add("CPU of the operator", cpu, "s", 0.028 * jobs, f"{1000 * cpu / jobs:.1f} ms a job")
    before = middle(b.mebibytes_before for b in bursts)
    memory = middle(b.mebibytes for b in bursts)
    each_job = f"{1024 * (memory - before) / jobs:.0f} KiB a job beside {before:.0f} MiB without"
    add("memory of the operator", memory, "MiB", 250, each_job)
