"""Row 19: changes of a job that its schema allows, and their roll-back."""

from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from campaign.baseline import side_by_side
from campaign.mutations import changes
from campaign.puppet import COMMAND
from campaign.recorder import PATHS
from campaign.scene import scene
from campaign.stage import Stage
from lepton_operator.engine.client import ApiError

pytestmark = pytest.mark.timeout(1800)

CRD = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/leptontrainingjobs.training.lepton.ai"
)
MANY = 120


def drawn(strategy):
    """Examples of a strategy."""
    found = []

    @settings(
        max_examples=MANY, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        database=None,
    )  # fmt: skip
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


async def settled(here, stage, generation):
    """Wait until the operator has looked at this generation, and has told what comes of it."""
    await here.until(
        f"{stage.name} of generation {generation} is told about",
        lambda: (
            stage.true("Finished")
            or (stage.status.get("observedGeneration") == generation and stage.true("Suspended"))
        ),
    )


async def patched(here, path, change):
    """The job after a change of its spec; None where the API server won't have it."""
    try:
        return await here.api.patch(path, {"spec": change})
    except ApiError as error:
        if error.status in (400, 422):
            return None
        raise


async def changed_and_back(here, number, change):
    """Make a job that rests, change it, and change it back; returns whether each was allowed."""
    stage = Stage(here, f"job-{number:03d}")
    path = f"{PATHS['leptontrainingjobs'].format(here.namespace)}/{stage.name}"
    base = {"command": COMMAND, "suspend": True}
    await stage.apply(**base)
    await stage.reaches("Suspended")
    before = (await here.api.get(path))["spec"]
    job = await patched(here, path, change)
    if job is None:
        return False
    await settled(here, stage, job["metadata"]["generation"])
    job = await patched(here, path, {name: before.get(name) for name in change})
    if job is not None:
        await settled(here, stage, job["metadata"]["generation"])
        assert stage.true("Finished") or job["spec"] == before
    (told,) = (
        c for c in stage.status["conditions"]
        if c["type"] == ("Failed" if stage.true("Failed") else "Suspended")
    )  # fmt: skip
    assert told["reason"] in ("Suspended", "InvalidSpec"), told
    assert told["message"]
    return True


async def test_row_19_what_the_schema_allows_is_reached_or_told_and_can_be_taken_back(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        crd = await here.api.get(CRD)
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        found = drawn(changes(schema["properties"]["spec"]))
        allowed = await side_by_side(
            (partial(changed_and_back, here, n, change) for n, change in enumerate(found)),
            at_once=8,
        )
        print(f"{sum(allowed)} of {len(allowed)} changes were allowed")
        assert sum(allowed) > MANY // 4
        assert not here.recorder.now("jobs")
        assert "Traceback" not in here.seat.process.log
