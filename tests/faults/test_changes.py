"""Row 19: changes of a job that its schema allows, and their roll-back."""

from collections import Counter
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from campaign.baseline import side_by_side
from campaign.lives import outcome_of
from campaign.mutations import changes
from campaign.puppet import COMMAND
from campaign.recorder import PATHS
from campaign.scene import scene
from campaign.stage import Stage
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.validation import parse_spec
from lepton_operator.app.discovery import offered_gangs
from lepton_operator.app.resources import resource_of
from lepton_operator.engine.client import ApiError
from lepton_operator.engine.diff import merge_patch
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.settings import NetworkAccess, Settings
from lepton_operator.reconcile.text import one_line

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


def condition(stage, kind):
    """A condition of a job, which it has to have."""
    (told,) = (c for c in stage.status["conditions"] if c["type"] == kind)
    return told


async def patched(here, path, change):
    """The job after a change of its spec; None where the API server won't have it."""
    try:
        return await here.api.patch(path, {"spec": change})
    except ApiError as error:
        if error.status in (400, 422):
            return None
        raise


async def settings_of(here, cluster):
    """What the operator of a scene makes objects by."""
    return Settings(
        trainer_image=cluster.trainer_image,
        gangs=await offered_gangs(here.api),
        network=NetworkAccess(here.namespace),
    )


async def refusal(here, settings, raw):
    """What the API server has against the objects of a job's first attempt; None if nothing. It is
    asked to make them and keep none."""
    job = TrainingJob.from_object(raw)
    spec = parse_spec(job.spec)
    for manifest in (
        *manifests.objects(job, spec, settings),
        manifests.pod_group(job, spec, 1, settings),
        manifests.batch_job(job, spec, 1, settings),
    ):
        if manifest is None:
            continue
        path = resource_of(manifest["kind"], manifest["apiVersion"]).path(here.namespace)
        try:
            await here.api.post(path, manifest, {"dryRun": "All"})
        except ApiError as error:
            if error.status in (400, 422):
                return error.message
            raise
    return None


async def changed_and_back(here, settings, number, change):
    """What came of a change: `refused` by the API server, `told` to be impossible, or `reached`,
    and taken back."""
    try:
        return await _changed_and_back(here, settings, number, change)
    except BaseException as error:
        error.add_note(f"job-{number:03d} with {change}")
        raise


async def _changed_and_back(here, settings, number, change):
    stage = Stage(here, f"job-{number:03d}")
    path = f"{PATHS['leptontrainingjobs'].format(here.namespace)}/{stage.name}"
    base = {"command": COMMAND, "suspend": True}
    await stage.apply(**base)
    await stage.reaches("Suspended")
    before = (await here.api.get(path))["spec"]
    job = await patched(here, path, change)
    if job is None:
        return "refused"
    await settled(here, stage, job["metadata"]["generation"])
    if stage.true("Finished"):
        why = condition(stage, "Failed")
        assert why["reason"] == "InvalidSpec"
        assert why["message"]
        return "told"
    why = await refusal(here, settings, job)
    if why is not None:
        await stage.change(suspend=False)
        await stage.finishes()
        told = condition(stage, "Failed")
        assert told["reason"] == "InvalidSpec"
        assert one_line(why, 200).rstrip("…") in told["message"]
        return "told"
    job = await patched(here, path, merge_patch(job["spec"], before))
    if job is None:
        return "kept"
    await settled(here, stage, job["metadata"]["generation"])
    assert job["spec"] == before
    assert condition(stage, "Suspended")["message"]
    return "reached"


async def test_row_19_what_the_schema_allows_is_reached_or_told_and_can_be_taken_back(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        crd = await here.api.get(CRD)
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        found = drawn(changes(schema["properties"]["spec"]))
        settings = await settings_of(here, cluster)
        came_of_it = Counter(
            await side_by_side(
                (
                    partial(changed_and_back, here, settings, number, change)
                    for number, change in enumerate(found)
                ),
                at_once=8,
            )
        )
        print(came_of_it)
        assert came_of_it["reached"] > MANY // 4
        assert not here.recorder.now("jobs")
        assert "Traceback" not in here.seat.process.log


@pytest.mark.parametrize(
    "change",
    [{"template": {"tolerations": [{"key": 5}]}}, {"template": {"volumes": [{"name": "A b"}]}}],
    ids=["that it can't read", "that is invalid"],
)
async def test_row_19_a_pod_field_that_the_api_server_refuses_ends_the_job_with_its_words(
    cluster, tmp_path, change
):
    async with scene(cluster, tmp_path) as here:
        settings = await settings_of(here, cluster)
        assert await changed_and_back(here, settings, 0, change) == "told"


async def told_of(here, stage, **change):
    """Change a job, and wait until its status is of the spec as it is now."""
    await stage.change(**change)
    job = await here.api.get(f"{PATHS['leptontrainingjobs'].format(here.namespace)}/{stage.name}")
    await here.until(
        f"{change} is seen",
        lambda: stage.status.get("observedGeneration") == job["metadata"]["generation"],
    )


async def test_row_19_changes_of_a_job_that_runs_are_reached_and_can_be_taken_back(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        stage, policy = Stage(here), {"maxRestarts": 0, "backoffSeconds": 1}
        await stage.apply(elastic={"min": 1, "max": 2}, failurePolicy=policy)
        await stage.trains(1)
        await stage.change(suspend=True)
        await stage.reaches("Suspended")
        await stage.change(suspend=False)
        await stage.trains(1)
        await stage.change(workers=2)
        await stage.trains(2, workers=2)
        await stage.change(workers=1)
        await stage.trains(3)
        pod = stage.pod(0)["metadata"]["uid"]
        await told_of(here, stage, failurePolicy={**policy, "maxRestarts": 2})
        assert stage.pod(0)["metadata"]["uid"] == pod
        await stage.end(0, 3)
        await stage.trains(4)
        await told_of(here, stage, failurePolicy=policy)
        await stage.end(0, 3)
        await stage.finishes()
        assert (stage.status["restarts"], stage.status["interruptions"]) == (1, 0)
        assert condition(stage, "Failed")["reason"] == "MaxRestartsExceeded"
        outcome = await outcome_of(stage)
        assert not outcome.forbidden
