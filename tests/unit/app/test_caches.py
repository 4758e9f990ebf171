"""What the caches do when events of children were lost."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lepton_operator.app import caches as caches_module
from lepton_operator.app.caches import Caches
from lepton_operator.app.resources import JOBS
from lepton_operator.engine import resync


class Server:
    """Has one pod that no watch has told of."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def get(self, path: str, params: dict[str, str], **_: Any) -> dict[str, Any]:
        self.asked.append((path, params))
        metadata = {"namespace": "team", "name": "job-1-0", "uid": "u", "resourceVersion": "5"}
        items = [{"metadata": metadata}] if path.endswith("/pods") else []
        return {"items": items, "metadata": {"resourceVersion": "7"}}


async def test_children_that_differ_from_a_list_of_them_are_listed_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resync, "STEP_TO_SETTLE", 0.0)
    server = Server()
    caches = Caches(server, "team", lambda _: None)  # type: ignore[arg-type]
    again: list[str] = []
    for name, reflector in caches.reflectors.items():
        monkeypatch.setattr(reflector, "request_list", lambda name=name: again.append(name))
    for audit in caches.audits:
        await audit.audit()
    assert again == ["pods"]
    assert len(server.asked) == len(caches.reflectors)
    selected = "app.kubernetes.io/managed-by=lepton-operator"
    assert all(params["labelSelector"] == selected for _, params in server.asked)


def owned(by: str, name: str) -> list[dict[str, Any]]:
    """An owner reference to the Job or LeptonTrainingJob with this UID."""
    kind = "Job" if "-" in name else "LeptonTrainingJob"
    return [{"kind": kind, "name": name, "uid": by, "controller": True}]


@pytest.mark.parametrize(
    ("owner", "batch_owner", "asked"),
    [
        ("batch", "training", True),
        (None, "training", False),
        ("another", "training", False),
        ("batch", "an-earlier-one", False),
    ],
)
def test_only_pods_of_a_job_of_the_training_job_are_asked_for_progress(
    owner: str | None, batch_owner: str, asked: bool
) -> None:
    caches = Caches(Server(), "team", lambda *_: None)  # type: ignore[arg-type]
    labels = {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"}
    common = {"namespace": "team", "resourceVersion": "5", "labels": labels}
    training = {**common, "name": "job", "uid": "training", "generation": 1}
    batch = {**common, "name": "job-1", "uid": "batch"}
    pod = {**common, "name": "first", "uid": "pod"}
    caches.training_jobs.upsert({"metadata": training, "spec": {}, "status": {"attempt": 1}})
    caches.reflectors["jobs.batch"].store.upsert(
        {"metadata": {**batch, "ownerReferences": owned(batch_owner, "job")}}
    )
    index = {"annotations": {"batch.kubernetes.io/job-completion-index": "0"}}
    owners = {"ownerReferences": owned(owner, "job-1")} if owner else {}
    caches.reflectors["pods"].store.upsert(
        {"metadata": {**pod, **index, **owners}, "status": {"phase": "Running"}}
    )
    found = [(key, worker.name) for key, worker in caches.first_workers()]
    assert found == ([(("team", "job"), "first")] if asked else [])
    ended = {**pod, **index, **owners, "resourceVersion": "6"}
    caches.reflectors["pods"].store.upsert({"metadata": ended, "status": {"phase": "Succeeded"}})
    assert not list(caches.first_workers())


@pytest.mark.parametrize("by_us", [False, True])
def test_a_batch_job_that_goes_is_remembered_for_a_while(
    monkeypatch: pytest.MonkeyPatch, by_us: bool
) -> None:
    caches = Caches(Server(), "team", lambda _: None)  # type: ignore[arg-type]
    labels = {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"}
    batch = {
        "metadata": {
            "namespace": "team", "name": "job-1", "uid": "u", "resourceVersion": "5",
            "labels": labels,
        }
    }  # fmt: skip
    jobs = caches.reflectors["jobs.batch"].store
    jobs.upsert(batch)
    assert caches.children_of(("team", "job")).job_vanished_ago is None
    if by_us:
        caches.deleted(JOBS, "team", "job-1", "u", None)
    else:
        jobs.delete(batch)
    ago = caches.children_of(("team", "job")).job_vanished_ago
    assert ago is not None
    assert ago < timedelta(seconds=10)
    monkeypatch.setattr("lepton_operator.app.caches.VANISHED_SECONDS", 0.0)
    assert caches.children_of(("team", "job")).job_vanished_ago is None


def test_when_a_pods_deletion_was_asked_for_outlives_that_the_kubelet_asks_again() -> None:
    """As Kubernetes 1.37 tells of one that is killed when its grace is over."""
    caches = Caches(Server(), "team", lambda *_: None)  # type: ignore[arg-type]
    labels = {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"}
    pod = {"namespace": "team", "name": "job-1-0", "uid": "pod", "labels": labels}
    pods = caches.reflectors["pods"].store
    for version, due, grace in ((5, "12:00:32Z", 30), (6, "12:00:33Z", 0)):
        deletion = {
            "deletionTimestamp": f"2026-01-01T{due}",
            "deletionGracePeriodSeconds": grace,
            "resourceVersion": str(version),
        }
        pods.upsert({"metadata": {**pod, **deletion}, "status": {"phase": "Failed"}})
    (seen,) = caches.children_of(("team", "job")).pods
    assert seen.delete_requested_time == datetime(2026, 1, 1, 12, 0, 2, tzinfo=UTC)


def test_jobs_that_have_not_ended_are_counted_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = Caches(Server(), "team", lambda *_: None)  # type: ignore[arg-type]
    time = [0.0]
    monkeypatch.setattr(caches_module.time, "monotonic", lambda: time[0])
    finished = {"type": "Finished", "status": "True", "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert caches.unfinished() == 0
    for name, conditions in (("one", []), ("two", []), ("done", [finished])):
        metadata = {"namespace": "team", "name": name, "uid": name, "resourceVersion": "1"}
        status = {"conditions": conditions}
        caches.training_jobs.upsert({"metadata": metadata, "spec": {}, "status": status})
    assert caches.unfinished() == 0
    time[0] += caches_module.COUNTED_SECONDS
    assert caches.unfinished() == 2


def test_jobs_of_a_namespace_look_after_their_service() -> None:
    looked_at: list[tuple[str, str]] = []
    caches = Caches(Server(), None, lambda key, _: looked_at.append(key))  # type: ignore[arg-type]
    for namespace, name in (("team", "a"), ("team", "b"), ("elsewhere", "c")):
        metadata = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1"}
        caches.training_jobs.upsert({"metadata": metadata, "spec": {}})
    store = caches.reflectors["services"].store
    common = {"namespace": "team", "name": "lepton-workers", "uid": "s", "resourceVersion": "2"}
    looked_at.clear()
    store.upsert({"metadata": common})
    assert looked_at == []
    assert [s.uid for s in caches.children_of(("team", "a")).services] == ["s"]
    assert caches.children_of(("elsewhere", "c")).services == ()
    assert caches.idle_services() == []
    store.upsert({"metadata": {**common, "namespace": "abandoned", "uid": "t"}})
    assert caches.idle_services() == [("abandoned", "lepton-workers")]
    store.delete({"metadata": {**common, "resourceVersion": "3"}})
    assert sorted(looked_at) == [("team", "a"), ("team", "b")]
