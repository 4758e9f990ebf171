"""Under which addresses the workers of a job find each other."""

from dataclasses import replace

import pytest
from situations import (
    NOW,
    batch_job,
    counted,
    deleted,
    failed_job,
    kinds,
    plain,
    plan_for,
    pod,
    running,
    service,
    training_job,
)

from lepton_operator.api import names
from lepton_operator.api.names import ANNOTATION_DESIRED_HASH as HASH
from lepton_operator.reconcile import addresses, manifests
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.plan import Deletion

SERVICE = (service(),)


def placed(rank: int, ip: str | None = None, **more: object) -> PodView:
    """A worker with an address."""
    return replace(pod(rank), ip=ip or f"10.0.{rank // 250}.{rank % 250}", **more)


def plan(*pods: PodView, **seen: object):
    """What is done for a job of two workers with these pods."""
    job = training_job(running(), workers=2)
    return plan_for(job, pods=pods, **{"jobs": (batch_job(),), "services": SERVICE, **seen})


def test_the_service_has_no_selector_which_kubernetes_would_keep_addresses_of():
    spec = manifests.service("team")["spec"]
    assert spec["clusterIP"] == "None"
    assert "selector" not in spec


def test_each_worker_has_the_name_that_its_peers_ask_for():
    (made,) = plan(placed(0), placed(1)).create
    assert made["metadata"]["labels"]["kubernetes.io/service-name"] == "lepton-workers"
    assert made["metadata"]["ownerReferences"][0]["kind"] == names.KIND
    assert [(e["hostname"], e["addresses"]) for e in made["endpoints"]] == [
        ("job-1-0", ["10.0.0.0"]),
        ("job-1-1", ["10.0.0.1"]),
    ]
    job = training_job(counted(), workers=2)
    (attempt,) = (m for m in plan_for(job, services=SERVICE).create if m["kind"] == "Job")
    worker = attempt["spec"]["template"]["spec"]
    assert worker["subdomain"] == "lepton-workers"
    told = {v["name"]: v.get("value") for v in worker["containers"][0]["env"]}
    assert told["MASTER_ADDR"] == "job-1-0.lepton-workers"


def test_a_worker_is_reached_before_it_is_ready():
    (made,) = plan(placed(0, ready=False), placed(1, ready=False)).create
    assert all(endpoint["conditions"]["ready"] for endpoint in made["endpoints"])


@pytest.mark.parametrize(
    "pods",
    [
        [placed(0)],
        [placed(0), replace(pod(1), ip=None)],
        [placed(0), deleted(placed(1), 0)],
        [placed(0), placed(0)],
    ],
    ids=["one is missing", "one has no address", "one ends", "one rank twice"],
)
def test_nothing_is_written_until_all_have_addresses(pods):
    assert addresses.slices("job-1", 2, pods) == []


def test_addresses_that_were_written_are_written_anew_only_when_they_change():
    (made,) = plan(placed(0), placed(1)).create
    digest = made["metadata"]["annotations"][HASH]
    there = {"slices": (plain(desired_hash=digest),)}
    same = plan(placed(0), placed(1), **there)
    assert (same.create, same.apply) == ((), ())
    assert kinds(plan(placed(0), placed(1, "10.9.9.9"), **there).apply) == [
        ("EndpointSlice", "job")
    ]
    assert plan(placed(0), **there).apply == ()


def test_what_has_ended_needs_no_addresses():
    found = plan(placed(0), placed(1), jobs=(failed_job(),), now=NOW)
    assert kinds(found.create) == []


def test_one_worker_needs_no_addresses():
    job = training_job(running(), workers=1)
    assert plan_for(job, jobs=(batch_job(),), pods=(placed(0),)).create == ()


def test_a_slice_holds_no_more_than_the_api_server_takes():
    workers = addresses.LARGEST_SLICE + 1
    job, pods = training_job(running(), workers=workers), [placed(n) for n in range(workers)]
    found = manifests.endpoint_slices(job, batch_job(workers=workers), pods)
    assert [(m["metadata"]["name"], len(m["endpoints"])) for m in found] == [
        ("job", addresses.LARGEST_SLICE),
        ("job.1", 1),
    ]


@pytest.mark.parametrize(
    ("workers", "left"),
    [(2_001, []), (2_000, ["job.2"]), (2, ["job.1", "job.2"]), (1, ["job", "job.1", "job.2"])],
)
def test_slices_of_an_attempt_with_more_workers_go(workers, left):
    there = tuple(plain(name) for name in ("job", "job.1", "job.2"))
    job = training_job(running(2), workers=workers)
    starts = plan_for(job, jobs=(batch_job(2),), services=SERVICE, slices=there)
    assert starts.delete == tuple(Deletion("EndpointSlice", n, f"uid-of-{n}") for n in left)


def test_slices_go_no_earlier_than_the_attempt_whose_they_are():
    there = (plain("job"), plain("job.1"))
    job = training_job(running(), workers=2, elastic={"min": 1, "max": 2_000})
    larger = batch_job(workers=1_001)
    assert plan_for(job, jobs=(larger,), slices=there).delete == ()


@pytest.mark.parametrize("change", [{"deleting": True}, {"owner_uid": "another"}])
def test_a_slice_that_goes_already_or_is_not_ours_is_left_alone(change):
    there = (plain("job.1", **change),)
    job = training_job(running(), workers=2)
    assert plan_for(job, jobs=(batch_job(),), services=SERVICE, slices=there).delete == ()


def test_the_addresses_tell_their_family():
    (body,) = addresses.slices("job-1", 2, [placed(0, "fd00::1"), placed(1, "fd00::2")])
    assert body["addressType"] == "IPv6"
