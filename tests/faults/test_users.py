"""Rows 10, 11 and 12: what users do to a job and its objects, at the worst moment."""

import asyncio
from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Before, Rule
from campaign.lives import LIVES, live, outcome_of, whatever_generation
from campaign.recorder import PATHS
from campaign.requests import STATUS_WRITE
from campaign.scene import scene
from campaign.stage import Stage
from lepton_operator.api.names import LABEL_JOB_NAME, LABEL_MANAGED_BY, MANAGER

pytestmark = pytest.mark.timeout(1800)


async def recreated(cluster, baselines, folder, moment):
    """A job is deleted, and at once another of the same name is made."""
    async with scene(cluster, folder) as here:
        first = Stage(here)
        await first.apply(workers=2)
        if moment == "before its first status":
            await asyncio.sleep(0)
        elif moment == "while it starts":
            await here.until("is counted", lambda: first.attempt == 1)
        elif moment == "while it runs":
            await first.runs(1, workers=2)
        else:
            await first.trains(1, workers=2)
            await first.end_well(workers=2)
        await first.delete()
        second = Stage(here)
        await second.apply(workers=2)
        await here.until("all that ran before is gone", lambda: len(second.running()) <= 2)
        await second.trains(1, workers=2)
        await second.end_well(workers=2)
        outcome = await outcome_of(second)
        # What was on its way when the job was deleted arrives, and is collected.
        outcome.forbidden = [text for text in outcome.forbidden if "a job that is gone" not in text]
        baselines.compare("happy", outcome, here, lives=2, crashes=9)


async def test_row_10_a_job_made_anew_under_its_name_has_nothing_of_the_one_before(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    moments = ("before its first status", "while it starts", "while it runs", "after its end")
    await side_by_side(
        partial(recreated, cluster, baselines, tmp_path, moment) for moment in moments
    )


async def edited_in_a_pass(cluster, baselines, folder, name, annotate, number):
    """A life in which somebody edits the job just before its status write `number` arrives,
    compared with one that nobody edits."""
    async with scene(cluster, folder) as here:
        path = f"{PATHS['leptontrainingjobs'].format(here.namespace)}/job"
        changed = (
            {"metadata": {"annotations": {"example.org/note": "edited"}}}
            if annotate
            else {"spec": {"progressDeadlineSeconds": 3600}}
        )

        async def edit():
            await here.api.patch(path, changed)

        rule = here.proxy.strike(Rule(STATUS_WRITE, Before(edit), skip=number))
        outcome = await live(here, LIVES[name])
        assert rule.struck == 1
        # What is new in the spec has to be told: one status more.
        baselines.compare(name, outcome, here, trim=whatever_generation, edits=1)


EDITED = {"happy": 4, "fails_once": 6}
"""Status writes of a life, of which the first ones are each once preceded by an edit."""


async def test_row_11_an_edit_in_the_middle_of_a_pass_is_neither_lost_nor_harmful(
    cluster, baselines, tmp_path
):
    await baselines.of(*EDITED)
    await side_by_side(
        partial(edited_in_a_pass, cluster, baselines, tmp_path, name, annotate, number)
        for name, writes in EDITED.items()
        for annotate in (True, False)
        for number in range(writes)
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("/api/v1/namespaces/{}/services", "lepton-workers"),
        ("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", "job"),
    ],
)
async def test_row_12_what_gives_workers_their_names_is_made_again(
    cluster, baselines, tmp_path, kind, name
):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.runs(1, workers=2)
        path = f"{kind.format(here.namespace)}/{name}"
        before = await here.api.get(path)
        await here.api.delete(path)
        await stage.say(41, loss=0.5)
        await here.quiet()
        assert (await here.api.get(path))["metadata"]["uid"] != before["metadata"]["uid"]
        await stage.end_well(workers=2)
        baselines.compare("happy", await outcome_of(stage), here, lives=2)


async def relabelled(cluster, baselines, folder, resource, label, operator_dies):
    """Somebody takes a label off an object of a running job."""
    async with scene(cluster, folder) as here:
        stage = Stage(here)
        await stage.apply(workers=2)
        await stage.trains(1, workers=2)
        running = {pod["metadata"]["uid"] for pod in stage.running()}
        there = (
            stage.children("jobs")[0] if resource == "jobs" else stage.pod(1)
        )["metadata"]  # fmt: skip
        path = f"{PATHS[resource].format(here.namespace)}/{there['name']}"
        await here.api.patch(path, {"metadata": {"labels": {label: None}}})
        if operator_dies:
            await here.seat.restart()
        await here.quiet(5)
        now = {p["metadata"]["uid"] for p in here.recorder.now("pods") if running_phase(p)}
        assert now == running, f"pods of a job went since a label of its {resource} did"
        if resource == "pods":
            # Pods are the batch Job's, and not the operator's to change: who took it puts it back.
            value = {LABEL_MANAGED_BY: MANAGER, LABEL_JOB_NAME: "job"}[label]
            await here.api.patch(path, {"metadata": {"labels": {label: value}}})
            await here.until("it is seen again", lambda: len(stage.running()) == 2)
        await stage.end_well(workers=2)
        baselines.compare("happy", await outcome_of(stage), here, crashes=3, edits=2)


def running_phase(pod):
    """Whether a pod runs and is to go on."""
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


async def test_row_12_a_label_that_a_user_takes_away_ends_nothing(cluster, baselines, tmp_path):
    await baselines.of("happy")
    await side_by_side(
        partial(relabelled, cluster, baselines, tmp_path, resource, label, dies)
        for resource in ("jobs", "pods")
        for label in (LABEL_MANAGED_BY, LABEL_JOB_NAME)
        for dies in (False, True)
    )
