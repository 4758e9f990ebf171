"""One pass over a job: what is asked of the API server, and in which order."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lepton.spec.report import Progress
from lepton_operator.api.scheduling import Gang
from lepton_operator.app.caches import Caches
from lepton_operator.app.metrics import Metrics
from lepton_operator.app.reconciler import AFTER_CONFLICT, Reconciler
from lepton_operator.app.resources import resource_of
from lepton_operator.engine.clock import ServerClock
from lepton_operator.engine.effects import Effects
from lepton_operator.engine.errors import ApiError
from lepton_operator.engine.workers import TryAgain
from lepton_operator.progress.board import Board
from lepton_operator.progress.collector import Key
from lepton_operator.progress.pacing import Pacer
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.settings import Settings

KEY = ("team", "job")
JOBS = "/apis/batch/v1/namespaces/team/jobs"
TRAINING_JOB = "/apis/training.lepton.ai/v1alpha1/namespaces/team/leptontrainingjobs/job"
EVENTS = "/apis/events.k8s.io/v1/namespaces/team/events"
NOW = datetime.now(UTC).replace(microsecond=0).isoformat()


class Server:
    """Answers as an API server that has no other objects."""

    clock = ServerClock()

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.bodies: dict[str, Any] = {}
        self.training_job: dict[str, Any] = {}
        self.others: dict[str, dict[str, Any]] = {}
        """Other objects, by path."""
        self.refusals: dict[str, ApiError] = {}
        """What a POST to a path is answered with."""
        self.lost_answers = 0
        """To how many of the next status writes, which take effect."""
        self._version = 100

    async def get(self, path: str, params: Any = None, **_: Any) -> dict[str, Any]:
        self.requests.append(("GET", path))
        if path == TRAINING_JOB:
            if not self.training_job:
                raise ApiError(404, "NotFound", "no such job")
            return self.training_job
        if path in self.others:
            return self.others[path]
        return {"items": [], "metadata": {}}

    async def post(self, path: str, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self.requests.append(("POST", path))
        if path in self.refusals:
            raise self.refusals[path]
        self.bodies[path] = body
        uid = f"new-{len(self.requests)}"
        return {**body, "metadata": {**body["metadata"], "uid": uid, **self._versioned()}}

    async def patch(self, path: str, body: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self.requests.append(("PATCH", path))
        if body["metadata"]["resourceVersion"] != self.training_job["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        self.training_job["status"] = self.training_job.get("status", {}) | body["status"]
        self.training_job["metadata"] |= self._versioned()
        if self.lost_answers:
            self.lost_answers -= 1
            raise ApiError(0, "ServerDisconnectedError", "no answer")
        return self.training_job

    async def delete(self, path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.requests.append(("DELETE", path))
        self.bodies[path] = body
        there = self.training_job if path == TRAINING_JOB else self.others[path]
        if any(there["metadata"][name] != is_ for name, is_ in body["preconditions"].items()):
            raise ApiError(409, "Conflict", "a precondition differs")
        return {"kind": "Status"}

    def _versioned(self) -> dict[str, str]:
        self._version += 1
        return {"resourceVersion": str(self._version)}


class Bench:
    """A reconciler of one job on a server."""

    gangs: frozenset[Gang] = frozenset()

    def __init__(self, status: dict[str, Any], **spec: Any) -> None:
        self.server = Server()
        client: Any = self.server
        self.caches = Caches(client, None, lambda *_: None, self.gangs)
        self.server.training_job = {
            "metadata": {
                "namespace": "team",
                "name": "job",
                "uid": "0123456789ab",
                "generation": 1,
                "resourceVersion": "1",
            },
            "spec": {"command": ["train"], **spec},
            "status": status,
        }
        self.caches.training_jobs.upsert(self.server.training_job)
        self.board: Board[Key] = Board()
        self.pacer: Pacer[Key] = Pacer()
        self.reconciler = Reconciler(
            client=client,
            caches=self.caches,
            effects=Effects(client, is_leader=lambda: True),
            board=self.board,
            pacer=self.pacer,
            settings=Settings(trainer_image="trainer:1", gangs=self.gangs),
            metrics=Metrics(),
        )

    def lose(self, kind: str) -> None:
        """The watch tells that an object of this kind is gone."""
        resource = resource_of(kind)
        (reflector,) = (r for r in self.caches.reflectors.values() if r.resource == resource)
        (((_, name), (uid, version)),) = reflector.store.known().items()
        metadata = {"namespace": "team", "name": name, "uid": uid, "resourceVersion": version}
        reflector.store.delete({"metadata": metadata})

    def run(self) -> float | None:
        return asyncio.run(self.reconciler.reconcile(KEY))


def ended(kind: str = "Complete") -> dict[str, Any]:
    """The status of a job that ended now."""
    conditions = [
        {"type": name, "status": "True", "reason": "Done", "lastTransitionTime": NOW}
        for name in (kind, "Finished")
    ]
    return {"attempt": 1, "completionTime": NOW, "conditions": conditions}


def test_a_write_that_carries_an_old_report_leaves_the_turn_of_the_next_to_come_soon() -> None:
    bench = Bench({})
    bench.pacer.running = 5400
    report = datetime.now(UTC) - timedelta(seconds=30)
    bench.board.put(KEY, 0, Progress(step=5), report)
    bench.run()
    assert ("PATCH", f"{TRAINING_JOB}/status") in bench.server.requests
    assert bench.pacer.period == 100
    assert 60 < bench.pacer.wait(KEY) <= 70


def test_an_object_that_vanished_with_its_job_is_not_made_again() -> None:
    bench = Bench({"attempt": 1, "startTime": NOW}, workers=2)
    services = "/api/v1/namespaces/team/services"

    def asked() -> list[tuple[str, str]]:
        bench.server.requests.clear()
        bench.run()
        return [request for request in bench.server.requests if request[0] != "PATCH"]

    assert asked() == [("POST", services), ("POST", JOBS)]
    bench.lose("Service")
    assert asked() == [("GET", TRAINING_JOB), ("POST", services)]
    bench.lose("Service")
    bench.server.training_job = {}
    assert asked() == [("GET", TRAINING_JOB)]
    assert bench.caches.training_jobs.get(*KEY) is None


async def test_jobs_that_come_at_once_ask_for_what_they_share_once() -> None:
    bench = Bench({"attempt": 1, "startTime": NOW}, workers=2)
    metadata = bench.server.training_job["metadata"]
    keys = [("team", f"job-{number}") for number in range(5)]
    for _, name in keys:
        other = {**metadata, "name": name, "uid": f"{name}-0123456789"}
        bench.caches.training_jobs.upsert({**bench.server.training_job, "metadata": other})
    await asyncio.gather(*map(bench.reconciler._create, *wanted(bench, keys)))
    posts = [path for method, path in bench.server.requests if method == "POST"]
    assert posts == ["/api/v1/namespaces/team/services"]


def wanted(bench: Bench, keys: list[tuple[str, str]]) -> tuple[list[Any], list[Any]]:
    """The jobs, and for each the Service that they share."""
    jobs = [bench.caches.training_jobs.get(*key) for key in keys]
    return jobs, [[manifests.service("team")]] * len(jobs)


def test_with_the_last_job_of_a_namespace_goes_the_service_that_its_jobs_shared() -> None:
    bench = Bench({"attempt": 1, "startTime": NOW}, workers=2)
    bench.run()
    service = "/api/v1/namespaces/team/services/lepton-workers"
    (there,) = bench.caches.children_of(KEY).services
    bench.server.others[service] = {"metadata": {"uid": there.uid}}
    other = {**bench.server.training_job["metadata"], "name": "other", "uid": "fedcba987654"}
    bench.caches.training_jobs.upsert({**bench.server.training_job, "metadata": other})
    bench.caches.training_job_gone(KEY)
    bench.server.requests.clear()
    bench.run()
    assert bench.server.requests == []
    bench.caches.training_job_gone(("team", "other"))
    bench.run()
    assert bench.server.requests == [("DELETE", service)]
    bench.run()
    assert len(bench.server.requests) == 1


def test_a_job_is_deleted_as_the_very_one_that_ended() -> None:
    bench = Bench(ended(), ttlSecondsAfterFinished=0)
    bench.run()
    assert bench.server.requests == [("DELETE", TRAINING_JOB)]
    assert bench.server.bodies[TRAINING_JOB]["preconditions"] == {
        "uid": "0123456789ab",
        "resourceVersion": "1",
    }
    assert bench.caches.training_jobs.get(*KEY) is None


def test_a_job_that_its_user_keeps_for_longer_just_then_is_not_deleted() -> None:
    bench = Bench(ended(), ttlSecondsAfterFinished=0)
    bench.server.training_job = {
        **bench.server.training_job,
        "metadata": {**bench.server.training_job["metadata"], "resourceVersion": "2"},
        "spec": {"command": ["train"], "ttlSecondsAfterFinished": 3600},
    }
    assert bench.run() == AFTER_CONFLICT
    assert bench.server.requests == [("DELETE", TRAINING_JOB), ("GET", TRAINING_JOB)]
    again = bench.run()
    assert len(bench.server.requests) == 2
    assert again is not None
    assert again > AFTER_CONFLICT


def batch_job(version: str, *true: str) -> dict[str, Any]:
    """The first attempt's Job as the API server has it, with these conditions."""
    owner = {"uid": "0123456789ab", "controller": True}
    labels = {"training.lepton.ai/job-name": "job", "training.lepton.ai/attempt": "1"}
    conditions = [{"type": name, "status": "True", "lastTransitionTime": NOW} for name in true]
    return {
        "metadata": {
            "namespace": "team", "name": "job-1", "uid": "batch-uid", "resourceVersion": version,
            "labels": labels, "ownerReferences": [owner],
        },
        "spec": {"completions": 1},
        "status": {"conditions": conditions},
    }  # fmt: skip


def test_a_batch_job_that_ended_before_it_was_deleted_stays_with_its_logs() -> None:
    bench = Bench(ended("Failed"))
    store = bench.caches.reflectors["jobs.batch"].store
    store.upsert(batch_job("5"))
    path = f"{JOBS}/job-1"
    bench.server.others[path] = batch_job("6", "FailureTarget")
    assert bench.run() == AFTER_CONFLICT
    assert bench.server.requests == [("DELETE", path), ("GET", path)]
    bench.run()
    assert len(bench.server.requests) == 2


def test_a_batch_job_that_changed_and_runs_on_is_deleted_at_the_next_look() -> None:
    bench = Bench(ended("Failed"))
    bench.caches.reflectors["jobs.batch"].store.upsert(batch_job("5"))
    path = f"{JOBS}/job-1"
    bench.server.others[path] = batch_job("6")
    bench.run()
    bench.run()
    assert [verb for verb, _ in bench.server.requests] == ["DELETE", "GET", "DELETE"]
    assert bench.server.bodies[path]["preconditions"] == {
        "uid": "batch-uid",
        "resourceVersion": "6",
    }
    assert bench.caches.children_of(KEY).jobs == ()


def test_what_a_status_says_is_told_although_the_answer_to_its_write_was_lost() -> None:
    bench = Bench({}, resourceShape="unknown")
    bench.server.lost_answers = 1
    bench.run()
    assert bench.server.training_job["status"]["phase"] == "Failed"
    assert bench.server.bodies[EVENTS]["reason"] == "InvalidSpec"


def test_a_job_whose_time_has_not_come_is_looked_at_then() -> None:
    bench = Bench(ended("Failed"), ttlSecondsAfterFinished=3600)
    again = bench.run()
    assert bench.server.requests == []
    assert again is not None
    assert 0 < again <= 3600


def over_quota(used: int) -> ApiError:
    text = f'jobs.batch "job-1" is forbidden: exceeded quota: none, used: count/jobs.batch={used}'
    return ApiError(403, "Forbidden", text)


def tried(bench: Bench) -> tuple[list[str], timedelta | None]:
    """The verbs of a pass in which the Job can't be made, and when to look again at the latest."""
    bench.server.requests.clear()
    with pytest.raises(TryAgain, match="exceeded quota") as raised:
        bench.run()
    return [verb for verb, path in bench.server.requests if path != EVENTS], raised.value.look_in


def ready(bench: Bench) -> tuple[str, str]:
    """Reason and message of PodsReady."""
    (told,) = bench.server.training_job["status"]["conditions"]
    return told["reason"], told["message"]


def test_what_a_quota_refuses_is_written_once_and_gone_when_it_could_be_made() -> None:
    bench = Bench({"observedGeneration": 1, "attempt": 1, "startTime": NOW})
    bench.server.refusals[JOBS] = over_quota(1)
    assert tried(bench)[0] == ["PATCH", "POST"]
    assert "conditions" not in bench.server.training_job["status"]
    assert tried(bench)[0] == ["PATCH", "POST"]
    assert ready(bench) == ("CreationRefused", f"Job job-1 can't be made: {over_quota(1).message}")
    assert bench.server.bodies[EVENTS]["note"] == over_quota(1).message
    assert tried(bench)[0] == ["POST"]
    # Words that change with every try are written no more often than progress is.
    for used in (2, 3):
        bench.server.refusals[JOBS] = over_quota(used)
        assert tried(bench)[0] == ["POST"]
    del bench.server.refusals[JOBS]
    bench.run()
    bench.run()
    assert ready(bench) == ("PodsPending", "0 of 1 worker ready")


def test_a_restarted_operator_learns_of_a_refusal_by_trying() -> None:
    status = {"observedGeneration": 1, "attempt": 1, "startTime": NOW}
    bench = Bench(status)
    bench.server.refusals[JOBS] = over_quota(1)
    tried(bench)
    tried(bench)
    successor = Bench(bench.server.training_job["status"])
    successor.server.refusals[JOBS] = over_quota(1)
    assert [tried(successor)[0] for _ in range(2)] == [["POST"], ["POST"]]
    assert ready(successor) == ready(bench)


def test_a_deadline_is_not_missed_while_a_refusal_is_backed_off_from() -> None:
    status = {"observedGeneration": 1, "attempt": 1, "startTime": NOW}
    bench = Bench(status, pendingDeadlineSeconds=3600)
    bench.server.refusals[JOBS] = over_quota(1)
    assert tried(bench)[1] is None
    look_in = tried(bench)[1]
    assert look_in is not None
    assert timedelta(minutes=50) < look_in <= timedelta(hours=1)


def test_a_refusal_is_forgotten_once_the_job_could_be_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Pods that the Job which is lost here might have yet are waited for else.
    monkeypatch.setattr("lepton_operator.reconcile.decide.LATE_PODS", timedelta(0))
    status = {"observedGeneration": 1, "attempt": 1, "startTime": NOW}
    bench = Bench(status, pendingDeadlineSeconds=3600)
    refusal = bench.server.refusals[JOBS] = over_quota(1)
    tried(bench)
    del bench.server.refusals[JOBS]
    bench.run()
    bench.lose("Job")
    bench.server.refusals[JOBS] = refusal
    # That of now is not known before it is tried, and that of then no more.
    assert tried(bench)[1] is None
    assert tried(bench)[1] is not None


def ended_pod(rank: int, said: str, **metadata: Any) -> dict[str, Any]:
    """A pod of the first attempt that has ended, as the API server has it."""
    terminated = {"exitCode": 1, "finishedAt": NOW, "message": said}
    of_job = batch_job("5")["metadata"]
    return {
        "metadata": {
            **of_job, "name": f"job-1-{rank}-abcde", "uid": f"pod-{rank}", "creationTimestamp": NOW,
            "annotations": {"batch.kubernetes.io/job-completion-index": str(rank)},
            "ownerReferences": [
                {"kind": "Job", "name": "job-1", "uid": of_job["uid"], "controller": True}
            ],
            **metadata,
        },
        "spec": {"nodeName": "node-1"},
        "status": {
            "phase": "Failed",
            "containerStatuses": [{"name": "worker", "state": {"terminated": terminated}}],
        },
    }  # fmt: skip


def test_what_ended_and_was_deleted_for_its_peer_before_anyone_looked_still_tells_why() -> None:
    bench = Bench({"attempt": 1, "startTime": NOW, "observedGeneration": 1}, workers=2)
    jobs, pods = (bench.caches.reflectors[kind].store for kind in ("jobs.batch", "pods"))
    lost = '{"rank": 1, "error": {"line": "RuntimeError: connection reset", "secondary": true}}'
    pods.upsert(ended_pod(1, lost))
    later = (datetime.fromisoformat(NOW) + timedelta(seconds=1)).isoformat()
    told = '{"rank": 0, "progress": {"step": 5}, "error": {"line": "ValueError: bad sample"}}'
    first = ended_pod(0, told, deletionTimestamp=later, deletionGracePeriodSeconds=0)
    pods.upsert(first)
    pods.delete(first)
    jobs.upsert(batch_job("5", "FailureTarget", "Failed"))
    bench.run()
    (attempt,) = bench.server.training_job["status"]["attempts"]
    assert (attempt["class"], attempt["rank"], attempt["step"]) == ("Application", 0, 5)
    assert attempt["message"] == "rank 0 exited with code 1 on node-1: ValueError: bad sample"
    job = bench.caches.training_jobs.get("team", "job")
    assert job is not None
    assert bench.caches.departed(job) == (), "nothing is kept for longer than it is of use"


@pytest.mark.parametrize("status", [{}, ended()])
def test_a_job_of_another_controller_costs_no_request(status: dict[str, Any]) -> None:
    bench = Bench(status, managedBy="example.com/other", ttlSecondsAfterFinished=0)
    assert bench.run() is None
    assert bench.server.requests == []


def counted(**more: Any) -> dict[str, Any]:
    """The status of a job whose second attempt is to be made."""
    failed = {"number": 1, "class": "OutOfMemory", "endTime": "2020-01-01T00:00:00Z"}
    return {"observedGeneration": 1, "attempt": 2, "restarts": 1, "attempts": [failed], **more}


def test_limits_are_read_before_an_attempt_with_more_memory_is_made() -> None:
    bench = Bench(
        counted(memory="3Gi"),
        resources={"limits": {"memory": "2Gi"}},
        failurePolicy={"growMemoryBy": "50%"},
    )
    bench.run()
    reads = [path.rsplit("/", 1)[1] for verb, path in bench.server.requests if verb == "GET"]
    assert reads == ["limitranges", "resourcequotas"]
    assert bench.server.requests[-1] == ("POST", JOBS)
    (container,) = bench.server.bodies[JOBS]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"memory": "3Gi"}}


def test_an_attempt_that_asks_for_nothing_special_costs_its_creation_alone() -> None:
    bench = Bench(counted())
    bench.run()
    assert [verb for verb, path in bench.server.requests if path != TRAINING_JOB + "/status"] == [
        "POST"
    ]


def test_nodes_are_listed_once_before_an_attempt_that_may_have_to_avoid_some() -> None:
    died = {"class": "Infrastructure", "reason": "NodeLost", "node": "node-1"}
    attempts = [{**died, "number": n, "endTime": "2020-01-01T00:00:00Z"} for n in (1, 2)]
    bench = Bench(counted(attempt=3, attempts=attempts))
    bench.run()
    reads = [path for verb, path in bench.server.requests if verb == "GET"]
    assert reads == ["/api/v1/nodes"]
    assert bench.server.requests[-1] == ("POST", JOBS)


class AllGangs(Bench):
    """The same where the API server offers every gang."""

    gangs = frozenset(Gang)


@pytest.mark.parametrize(
    ("gang", "group"),
    [
        ("Native", "scheduling.k8s.io/v1beta1"),
        ("Coscheduling", "scheduling.x-k8s.io/v1alpha1"),
        ("Volcano", "scheduling.volcano.sh/v1beta1"),
    ],
)
def test_a_group_is_made_before_its_pods_and_is_known_at_once(gang: str, group: str) -> None:
    bench = AllGangs(counted(), workers=2, scheduling={"gang": gang})
    bench.run()
    groups = f"/apis/{group}/namespaces/team/podgroups"
    made = [path for verb, path in bench.server.requests if verb == "POST"]
    assert made[-2:] == [groups, JOBS]
    (known,) = bench.caches.children_of(KEY).groups
    assert (known.name, known.api_version) == ("job-2", group)
