"""Lives of a training job: each ends the same whatever happens to the operator on the way."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from campaign.oracle import (
    Forbidden,
    Writes,
    attempt_of,
    pod_essence,
    timeless,
    writes_of,
)
from campaign.recorder import Json
from campaign.scene import Scene
from campaign.stage import Stage
from lepton_operator.api.names import LABEL_JOB_NAME
from lepton_operator.reconcile.addresses import SERVICE

Life = Callable[[Stage], Awaitable[None]]

BOOM = {"rank": 1, "error": {"line": "ValueError: boom", "where": "train.py:3 in step"}}
CHILDREN = {
    "jobs": "/apis/batch/v1/namespaces/{}/jobs",
    "services": "/api/v1/namespaces/{}/services",
    "networkpolicies": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "persistentvolumeclaims": "/api/v1/namespaces/{}/persistentvolumeclaims",
}


async def happy(stage: Stage) -> None:
    """Two workers train and end well."""
    await stage.apply(workers=2)
    await stage.trains(1, workers=2)
    await stage.end_well(workers=2)


async def fails_once(stage: Stage) -> None:
    """Rank 1 raises; the next attempt ends well."""
    await stage.apply(workers=2)
    await stage.trains(1, workers=2)
    await stage.end(1, 1, BOOM)
    await stage.trains(2, workers=2)
    await stage.end_well(workers=2)


async def fails_for_good(stage: Stage) -> None:
    """Every attempt raises."""
    await stage.apply(failurePolicy={"maxRestarts": 1, "backoffSeconds": 1})
    for attempt in (1, 2):
        await stage.trains(attempt)
        await stage.end(0, 3, {"error": {"line": "RuntimeError: no"}})
    await stage.finishes()


async def suspended_and_resumed(stage: Stage) -> None:
    """Rests in the middle."""
    await stage.apply()
    await stage.trains(1)
    await stage.change(suspend=True)
    await stage.reaches("Suspended")
    await stage.scene.until("no pod runs", lambda: not stage.running())
    await stage.change(suspend=False)
    await stage.trains(1)
    await stage.end_well()


async def scaled(stage: Stage) -> None:
    """Grows while it runs."""
    await stage.apply(elastic={"min": 1, "max": 2})
    await stage.trains(1)
    await stage.change(workers=2)
    await stage.trains(2, workers=2)
    await stage.end_well(workers=2)


async def pod_deleted(stage: Stage) -> None:
    """Somebody deletes a worker."""
    await stage.apply(workers=2)
    await stage.trains(1, workers=2)
    await stage.delete_pod(1)
    await stage.trains(2, workers=2)
    await stage.end_well(workers=2)


async def job_deleted(stage: Stage) -> None:
    """Somebody deletes the batch Job."""
    await stage.apply()
    await stage.trains(1)
    await stage.delete_batch_job()
    await stage.trains(2)
    await stage.end_well()


LIVES: dict[str, Life] = {
    life.__name__: life
    for life in (
        happy, fails_once, fails_for_good, suspended_and_resumed, scaled, pod_deleted, job_deleted,
    )
}  # fmt: skip


@dataclass
class Outcome:
    """What a life came to."""

    end: Json
    """The status and the children that remain, without times and generated names."""
    forbidden: list[str]
    """States on the way that must not be."""
    writes: Writes


def without_evidence(end: Json) -> Json:
    """An end without what pods alone could tell, which are gone when somebody looks again."""
    attempts = [(a["number"], a.get("class")) for a in end["status"].get("attempts", ())]
    current = end["status"]["attempt"]
    return {
        **end,
        "status": {**end["status"], "attempts": attempts},
        "jobs": end["jobs"][-1:],
        "pods": [pod for pod in end["pods"] if pod[0] == current],
    }


def whatever_generation(end: Json) -> Json:
    """An end without the generation, which a user's edits have moved."""
    return {**end, "status": timeless(end["status"], frozenset({"observedGeneration"}))}


EVIDENCE_GOES = frozenset({"pod_deleted"})
"""Lives in which nobody may ever learn what happened who did not watch it happen."""


async def end_of(stage: Stage) -> Json:
    """What there is of the job now."""
    found: Json = {"status": timeless(stage.status)}
    for kind, path in CHILDREN.items():
        listed = await stage.scene.api.get(path.format(stage.scene.namespace))
        found[kind] = sorted(
            item["metadata"]["name"]
            for item in listed["items"]
            if _is_of(item, stage.name) or item["metadata"]["name"] == SERVICE
        )
    attempts = {attempt_of(job) for job in stage.children("jobs")}
    pods = [pod for pod in stage.children("pods") if attempt_of(pod) in attempts]
    found["pods"] = sorted(pod_essence(pod) for pod in pods)
    return found


async def outcome_of(stage: Stage) -> Outcome:
    """What a life came to that has ended, once nothing happens in it any more."""
    scene = stage.scene
    await scene.quiet(about=lambda name: _is_about(name, stage.name))
    history = [s for s in scene.recorder.history if _is_of(s.object, stage.name)]
    return Outcome(
        await end_of(stage),
        Forbidden(frozenset(stage.removed)).look_at(history),
        writes_of(e for e in scene.exchanges if _is_about(e.request.name, stage.name)),
    )


def _is_of(there: Json, name: str) -> bool:
    metadata = there["metadata"]
    return name in (metadata["name"], (metadata.get("labels") or {}).get(LABEL_JOB_NAME))


def _is_about(asked: str, name: str) -> bool:
    return asked in (name, SERVICE) or asked.startswith((f"{name}-", f"{name}."))


async def live(scene: Scene, life: Life) -> Outcome:
    """Live a life and see what came of it."""
    stage = Stage(scene)
    await life(stage)
    return await outcome_of(stage)
