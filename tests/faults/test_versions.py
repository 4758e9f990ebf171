"""Row 20: the operator is upgraded and downgraded under a live job."""

import pytest

from campaign.lives import outcome_of, whatever_generation
from campaign.recorder import PATHS
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(1800)

CRD = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/leptontrainingjobs.training.lepton.ai"
)
NEWER = ("--trainer-image=registry.example.org/trainer:9", "--metrics-namespaces=team=monitoring",
         "--interconnect-label=example.org/fabric")  # fmt: skip
"""Options that change every object which is made, as another version would."""


def schema_of(crd, *path):
    """The schema of a field of the CRD's first version."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path:
        schema = schema["properties"][name]
    return schema


async def with_newer_crd(here):
    """Give the CRD one more field in spec and one in status; returns how to take them away."""
    for field in ("spec", "status"):
        crd = await here.api.get(CRD)
        schema_of(crd, field)["properties"]["fromTheFuture"] = {"type": "string"}
        await here.api.put(CRD, crd)


async def without_newer_crd(here):
    """Take the fields away again."""
    crd = await here.api.get(CRD)
    for field in ("spec", "status"):
        schema_of(crd, field)["properties"].pop("fromTheFuture", None)
    await here.api.put(CRD, crd)


async def test_row_20_an_upgrade_and_a_downgrade_restart_no_pod_and_keep_what_they_do_not_know(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.runs(1, workers=2)
        running = {pod["metadata"]["uid"] for pod in stage.running()}
        await with_newer_crd(here)
        try:
            await upgraded(here, stage)
            assert {pod["metadata"]["uid"] for pod in stage.running()} == running
            await stage.say(41, loss=0.5)
            await stage.end_well(workers=2)
            outcome = await outcome_of(stage)
            assert outcome.end["status"].pop("fromTheFuture") == "kept"
        finally:
            await without_newer_crd(here)
        baselines.compare("happy", outcome, here, crashes=2, edits=4, trim=whatever_generation)


async def upgraded(here, stage):
    """A newer operator takes over and writes what this one does not know; then this one again."""
    path = f"{PATHS['leptontrainingjobs'].format(here.namespace)}/job"
    await here.seat.process.kill()
    await here.seat.free_lease()
    await here.seat.process.start(*NEWER)
    await here.quiet(8)
    future = {"fromTheFuture": "kept"}
    await here.api.patch(f"{path}/status", {"status": future})
    await here.api.patch(path, {"spec": future})
    await here.seat.restart()
    await here.quiet(8)
    assert stage.status["fromTheFuture"] == "kept"
