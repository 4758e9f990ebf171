"""Row 13: namespaces that end, quotas that are used up, admission that denies."""

import asyncio
from functools import partial

import pytest

from campaign.baseline import side_by_side
from campaign.faults import Refuse, Rule
from campaign.lives import LIVES, live, outcome_of
from campaign.oracle import writes_of
from campaign.requests import which
from campaign.scene import scene
from campaign.stage import Stage

pytestmark = pytest.mark.timeout(1800)

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "none"},
    "spec": {"hard": {"count/jobs.batch": "0"}},
}


def said(stage):
    """What PodsReady says."""
    told = (c for c in stage.status.get("conditions", ()) if c["type"] == "PodsReady")
    return next(told, {"message": ""})["message"]


async def with_quota(here):
    """Leave no room for a Job; returns the quota's path, once it is in force."""
    quotas = f"/api/v1/namespaces/{here.namespace}/resourcequotas"
    await here.api.post(quotas, QUOTA)
    path = f"{quotas}/none"
    while "used" not in (await here.api.get(path)).get("status", {}):
        await asyncio.sleep(0.1)
    return path


async def test_row_13_a_quota_that_is_used_up_is_told_and_waited_for(cluster, baselines, tmp_path):
    await baselines.of("happy")
    async with scene(cluster, tmp_path) as here:
        path = await with_quota(here)
        stage = Stage(here)
        await stage.apply(workers=2)
        events = f"/api/v1/namespaces/{here.namespace}/events"

        async def told():
            listed = await here.api.get(events)
            return [e["message"] for e in listed["items"] if e["reason"] == "CreationRefused"]

        while not await told():
            await asyncio.sleep(0.2)
        assert "exceeded quota: none" in (await told())[0]
        await here.until("the status tells it, too", lambda: "exceeded quota: none" in said(stage))
        assert stage.status["reason"] == "CreationRefused"
        assert not stage.children("jobs")
        refused = sum(e.code == 403 for e in here.exchanges)
        await here.api.delete(path)
        await stage.trains(1, workers=2)
        assert "exceeded quota" not in said(stage), "it goes with what it speaks of"
        await stage.end_well(workers=2)
        again = sum(e.code == 403 for e in here.exchanges) - refused
        baselines.compare("happy", await outcome_of(stage), here, crashes=refused + again)


async def test_row_13_a_quota_that_stays_used_up_ends_the_job_when_its_patience_does(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        await with_quota(here)
        stage = Stage(here)
        await stage.apply(workers=2, pendingDeadlineSeconds=10)
        await stage.finishes()
        (told,) = (c for c in stage.status["conditions"] if c["type"] == "Failed")
        assert told["reason"] == "PendingDeadlineExceeded"
        assert "exceeded quota: none" in told["message"]
        await here.quiet()
        assert not stage.children("jobs")
        writes = writes_of(here.exchanges)
        assert writes.idle == 0
        assert writes.needed["patch leptontrainingjobs/status"] + writes.progress == 3, writes


WEBHOOK = 'admission webhook "policy.example.org" denied the request: not now'


async def denied_for_a_while(cluster, baselines, folder, kind, code, reason):
    """An admission webhook that denies an object a few times, and then lets it pass."""
    async with scene(cluster, folder) as here:
        rule = here.proxy.strike(
            Rule(which("create", kind), Refuse(code, reason, WEBHOOK), times=4)
        )
        outcome = await live(here, LIVES["happy"])
        assert rule.struck == 4
        told = {e for e in outcome.writes.told if e == "CreationRefused"}
        assert told or code != 403
        baselines.compare("happy", outcome, here)


async def test_row_13_what_admission_denies_today_it_is_asked_for_tomorrow(
    cluster, baselines, tmp_path
):
    await baselines.of("happy")
    await side_by_side(
        partial(denied_for_a_while, cluster, baselines, tmp_path, kind, code, reason)
        for kind in ("jobs", "services")
        for code, reason in ((403, "Forbidden"), (500, "InternalError"))
    )


async def test_row_13_what_admission_finds_invalid_ends_the_job_with_its_words(cluster, tmp_path):
    async with scene(cluster, tmp_path) as here:
        refusal = Refuse(422, "Invalid", "image must come from registry.example.org")
        here.proxy.strike(Rule(which("create", "jobs"), refusal, times=None))
        stage = Stage(here)
        await stage.apply()
        await stage.finishes()
        (told,) = (c for c in stage.status["conditions"] if c["type"] == "Failed")
        assert told["reason"] == "InvalidSpec"
        assert "image must come from registry.example.org" in told["message"]
        await here.quiet()
        assert not stage.children("jobs")
        assert writes_of(here.exchanges).idle == 0


async def test_row_13_a_namespace_that_ends_gets_nothing_new_and_the_operator_goes_on(
    cluster, tmp_path
):
    async with scene(cluster, tmp_path) as here:
        stage = Stage(here)
        await stage.apply(workers=2, failurePolicy={"maxRestarts": 100, "backoffSeconds": 0})
        await stage.runs(1, workers=2)
        await here.api.delete(f"/api/v1/namespaces/{here.namespace}")
        await here.until("the job is gone", lambda: not here.recorder.now("leptontrainingjobs"))
        await here.until("its pods are gone", lambda: not here.recorder.now("pods"))
        await here.quiet()
        made = [e for e in here.exchanges if e.request.verb == "create" and e.took_effect]
        jobs = [e for e in made if e.request.resource == "jobs"]
        assert len(jobs) == 1, "nothing can be made while a namespace ends"
        refused = [e for e in here.exchanges if e.request.verb == "create" and e.code == 403]
        assert len(refused) < 40, "and it is not tried without a pause"
        assert here.seat.process.alive
        assert "Traceback" not in here.seat.process.log
