"""A small Kubernetes in memory, on virtual time, in which decide can be tried with crashes.

It models what matters to decide: the Job controller (Indexed, backoffLimit 0, replacement of
failed pods only, suspension), the kubelet's start and end of pods, garbage collection, and an API
server that refuses what the real one does.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from lepton.spec.report import LastWord, Progress
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.names import ConditionType
from lepton_operator.api.scheduling import Gang
from lepton_operator.reconcile.decide import decide
from lepton_operator.reconcile.observed import (
    GroupView,
    JobView,
    MemoryLimits,
    NodeView,
    Observed,
    PlainView,
    PodView,
)
from lepton_operator.reconcile.plan import LookUp, Plan
from lepton_operator.reconcile.settings import NetworkAccess, Settings

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = "exceeded quota: none"
SETTINGS = Settings(
    trainer_image="trainer:1",
    max_interruptions=5,
    gangs=frozenset({Gang.NATIVE}),
    network=NetworkAccess("lepton-system"),
)
AFTER_CONFLICT = timedelta(seconds=1)
KINDS = ("LeptonTrainingJob", "Job", "Pod", "Service", "EndpointSlice", "PersistentVolumeClaim",
         "NetworkPolicy", "PodGroup")  # fmt: skip
"""What there are watches of, each of which may be late by itself."""
LATEST = timedelta(seconds=9)
"""For how long a watch is late at most: caches remember a bit longer that a batch Job has gone."""
INDEX = "batch.kubernetes.io/job-completion-index"


def versioned(there: Json) -> Json:
    """The object with a version that changes with all else of it."""
    digest = hashlib.sha256(json.dumps(there, sort_keys=True).encode()).hexdigest()
    return {**there, "metadata": {**there["metadata"], "resourceVersion": digest}}


class Crash(Exception):  # noqa: N818
    """The operator was killed."""


def essence(world: "World") -> object:
    """What must not depend on when the operator was killed."""
    status = world.job["status"]
    return (
        status["phase"],
        status["attempt"],
        status["restarts"],
        status["interruptions"],
        [(a["number"], a.get("class"), a["message"]) for a in status.get("attempts", ())],
        [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]],
        (status.get("memory"), status.get("placement")),
        sorted(name for kind, name in world.objects if kind != "Pod"),
    )


def new_world() -> "World":
    """Of a job with two workers and a claim, which may be restarted twice."""
    return World(
        environment={},
        workers=2,
        storage={"size": "1Gi"},
        failurePolicy={"maxRestarts": 2, "backoffSeconds": 4},
    )


class World:
    """One training job and its objects."""

    def __init__(self, **spec: Any) -> None:
        self.now = START
        self.job: Json = {
            "metadata": {
                "namespace": "team", "name": "job", "uid": "0123456789ab", "generation": 1,
                "resourceVersion": "1",
            },
            "spec": spec,
            "status": {},
        }  # fmt: skip
        self.objects: dict[tuple[str, str], Json] = {}
        self.words: dict[str, LastWord] = {}
        self.progress: tuple[int, Progress | None] = (0, None)
        self.nodes: list[Json] = [
            {"metadata": {"name": f"node-{n}", "labels": {"region": f"region-{n % 2}"}}}
            for n in range(4)
        ]
        self.gone = False
        self.non_finite: tuple[str, ...] = ()
        self.unplaceable: str | None = None
        self.limits = MemoryLimits()
        self.quota: str | None = None
        """What the API server says instead of making a Job."""
        self.refused_for_now: str | None = None
        self.look_ups: list[LookUp] = []
        self.events: list[str] = []
        self.writes: list[str] = []
        self.made: list[str] = []
        """Names of the batch Jobs that were made, and were not there before."""
        self.may_wait = 0
        """How many of the writes were of a status that may wait, and so mostly join a later one."""
        self.crash_after: int | None = None
        self._uids = 0
        self._late: dict[str, tuple[datetime, list[Json]]] = {}
        """By kind of which the watch is late: since when, and what was there then, with what the
        operator was told since in answers to its own writes."""
        self._seen_jobs: set[str] = set()
        self._vanished: datetime | None = None

    # What the operator sees

    def fall_behind(self, kind: str) -> None:
        """The watch of a kind tells nothing more until `catch_up`, or for LATEST at most."""
        there = [self.job] if kind == "LeptonTrainingJob" else self.of(kind)
        self._late.setdefault(kind, (self.now, copy.deepcopy(there)))

    def catch_up(self) -> None:
        """All watches have told all."""
        self._late.clear()

    def start_again(self, *empty: str) -> None:
        """Another process is the operator: it lists, and remembers nothing. The lists of `empty`
        kinds are those of before there was anything, and their watches are late."""
        self.refused_for_now = None
        self._late = {kind: (self.now, []) for kind in empty}
        self.crash_after = None
        self._seen_jobs, self._vanished = set(), None

    def seen(self, kind: str) -> list[Json]:
        """Objects of a kind as the caches have them."""
        if kind in self._late:
            return self._late[kind][1]
        return [self.job] if kind == "LeptonTrainingJob" else self.of(kind)

    def _saw(self, kind: str, name: str) -> None:
        """The operator was told in an answer how an object is now."""
        if kind not in self._late:
            return
        cached = self._late[kind][1]
        cached[:] = [there for there in cached if there["metadata"]["name"] != name]
        now = self.job if kind == "LeptonTrainingJob" else self.objects.get((kind, name))
        if now is not None:
            cached.append(copy.deepcopy(now))
            cached.sort(key=lambda there: there["metadata"]["name"])

    def _job_vanished_ago(self) -> timedelta | None:
        """How long ago a batch Job has gone from the cache, if lately."""
        there = {batch["metadata"]["uid"] for batch in self.seen("Job")}
        if self._seen_jobs - there:
            self._vanished = self.now
        self._seen_jobs = there
        ago = self.now - self._vanished if self._vanished is not None else None
        return ago if ago is not None and ago <= LATEST else None

    # What the operator does

    def look(self) -> tuple[TrainingJob, Observed]:
        """The job and its children as the caches have them."""
        (seen,) = self.seen("LeptonTrainingJob")
        job = TrainingJob.from_object(copy.deepcopy(seen))
        attempt, progress = self.progress
        said = progress if attempt == job.status.attempt else None
        return job, Observed(
            jobs=tuple(JobView.from_object(versioned(o)) for o in self.seen("Job")),
            pods=tuple(PodView.from_object(o) for o in self.seen("Pod")),
            services=tuple(PlainView.from_object(o) for o in self.seen("Service")),
            slices=tuple(PlainView.from_object(o) for o in self.seen("EndpointSlice")),
            claims=tuple(PlainView.from_object(o) for o in self.seen("PersistentVolumeClaim")),
            policies=tuple(PlainView.from_object(o) for o in self.seen("NetworkPolicy")),
            groups=tuple(GroupView.from_object(o, o["apiVersion"]) for o in self.seen("PodGroup")),
            job_vanished_ago=self._job_vanished_ago(),
            progress=said,
            progress_time=self.now,
            asked_time=self.now if self.running(0) is not None else None,
            non_finite=self.non_finite if said is not None else (),
            last_words=dict(self.words),
            refused_for_now=self.refused_for_now,
        )

    def reconcile(self, meanwhile: Callable[[], None] = lambda: None) -> timedelta | None:
        """One pass; returns when to look again. Something may happen before its writes."""
        job, observed = self.look()
        before = copy.deepcopy(self.seen("LeptonTrainingJob"))
        plan = decide(job, observed, SETTINGS, self.now)
        if plan.look_up is not None:
            self.look_ups.append(plan.look_up)
            observed = self.with_answers(plan.look_up, observed)
            plan = decide(job, observed, SETTINGS, self.now)
        assert plan.look_up is None, "what was looked up is enough"
        assert plan == decide(job, observed, SETTINGS, self.now)
        meanwhile()
        if plan.status != job.status and [self.job] != before:
            return AFTER_CONFLICT
        return plan.again_in if self.carry_out(job, plan) else AFTER_CONFLICT

    def with_answers(self, wanted: LookUp, observed: Observed) -> Observed:
        """What was observed, and what the plan asked to look up."""
        nodes = tuple(NodeView.from_object(node) for node in self.nodes)
        return replace(
            observed,
            limits=self.limits if wanted.limits else None,
            nodes=nodes if wanted.nodes else None,
            pods=tuple(PodView.from_object(pod) for pod in self.of("Pod"))
            if wanted.pods_of
            else observed.pods,
            pods_looked_up=wanted.pods_of is not None,
            looked_up_job=(
                tuple(
                    JobView.from_object(versioned(batch))
                    for batch in self.of("Job")
                    if batch["metadata"]["name"] == wanted.job
                )
                if wanted.job
                else None
            ),
            regions={node.name: node.labels["region"] for node in nodes}
            if wanted.regions_of
            else {},
        )

    def carry_out(self, job: TrainingJob, plan: Plan) -> bool:
        """The plan's writes in their order. False if what was to be deleted has changed, or what
        was to be made can't be."""
        conflict = False
        status = plan.status.to_json_object()
        if status != self.job["status"]:
            self._wrote("status")
            self.may_wait += not plan.urgent
            self._check_transitions(self.job["status"], status)
            self.job["status"] = json.loads(json.dumps(status))
            self._saw("LeptonTrainingJob", self.job["metadata"]["name"])
        for manifest in plan.create:
            if manifest["kind"] == "Job" and self.quota is not None:
                self.refused_for_now = self.quota
                return False
            self._wrote(f"create {manifest['kind']} {manifest['metadata']['name']}")
            self.create(manifest)
            self._saw(manifest["kind"], manifest["metadata"]["name"])
        self.refused_for_now = None
        for manifest in plan.apply:
            self._wrote(f"apply {manifest['kind']} {manifest['metadata']['name']}")
            if not self._apply(manifest):
                return False
            self._saw(manifest["kind"], manifest["metadata"]["name"])
        for deletion in plan.delete:
            self._wrote(f"delete {deletion.kind} {deletion.name}")
            if deletion.kind == "LeptonTrainingJob":
                assert deletion.uid == self.job["metadata"]["uid"]
                self.gone = True
                continue
            there = self.objects.get((deletion.kind, deletion.name))
            if there is not None and there["metadata"]["uid"] == deletion.uid:
                if deletion.version in (None, versioned(there)["metadata"]["resourceVersion"]):
                    self.delete(deletion.kind, deletion.name)
                else:
                    conflict = True
            self._saw(deletion.kind, deletion.name)
        for note in plan.events:
            self.events.append(str(note.reason))
        return not conflict

    def _wrote(self, what: str) -> None:
        if self.crash_after is not None:
            if self.crash_after == 0:
                self.crash_after = None
                self.refused_for_now = None
                raise Crash(what)
            self.crash_after -= 1
        self.writes.append(what)

    @staticmethod
    def _check_transitions(old: Json, new: Json) -> None:
        before = {c["type"]: c for c in old.get("conditions", ())}
        for condition in new.get("conditions", ()):
            known = before.get(condition["type"])
            if known is not None and known["status"] == condition["status"]:
                assert known["lastTransitionTime"] == condition["lastTransitionTime"]
        assert before.get("Finished", {}).get("status") != "True", "terminal is terminal"

    # What the API server does

    def create(self, manifest: Json) -> None:
        """Make an object that is not there."""
        manifest = json.loads(json.dumps(manifest))
        kind, metadata = manifest["kind"], manifest["metadata"]
        if (kind, metadata["name"]) in self.objects:
            return
        if kind == "Job":
            attempt = self.job["status"]["attempt"]
            assert metadata["name"] == f"job-{attempt}", "an attempt is counted before it is made"
            assert all(map(self._is_lost, self.live_pods())), "no pod of an earlier attempt runs"
            self.made.append(metadata["name"])
            group = manifest["spec"]["template"]["spec"].get("schedulingGroup")
            assert group is None or ("PodGroup", group["podGroupName"]) in self.objects
        self._uids += 1
        metadata["uid"] = f"uid-{self._uids}"
        manifest["status"] = {}
        self.objects[kind, metadata["name"]] = manifest

    def _apply(self, manifest: Json) -> bool:
        """False where the UID keeps it from making what is not there any more."""
        there = self.objects.get((manifest["kind"], manifest["metadata"]["name"]))
        if manifest["kind"] != "Job":
            if there is None:
                self.create(manifest)
                return True
            new = json.loads(json.dumps(manifest))
            there.update({key: new[key] for key in new if key != "metadata"})
            there["metadata"]["annotations"] = new["metadata"]["annotations"]
            return True
        if there is None or there["metadata"]["uid"] != manifest["metadata"]["uid"]:
            assert "Job" in self._late, "a Job is changed that is not seen"
            return False
        assert manifest["spec"].keys() == {"suspend"}, "nothing else of a Job can change"
        there["spec"] |= manifest["spec"]
        return True

    def delete(self, kind: str, name: str) -> None:
        """Delete an object; a pod ends first."""
        there = self.objects[kind, name]
        if kind != "Pod":
            del self.objects[kind, name]
        elif "deletionTimestamp" not in there["metadata"]:
            due = self.now + timedelta(seconds=30)
            there["metadata"] |= {
                "deletionTimestamp": due.isoformat(),
                "deletionGracePeriodSeconds": 30,
            }

    def of(self, kind: str) -> list[Json]:
        """Objects of a kind, by name."""
        return [o for (k, _), o in sorted(self.objects.items()) if k == kind]

    def live_pods(self) -> list[Json]:
        """Pods of which something runs."""
        return [p for p in self.of("Pod") if p["status"]["phase"] in ("Pending", "Running")]

    def _is_lost(self, pod: Json) -> bool:
        """Whether its kubelet had half a minute more than it should have needed to end it."""
        due = pod["metadata"].get("deletionTimestamp")
        return due is not None and self.now >= datetime.fromisoformat(due) + timedelta(seconds=30)

    def change_spec(self, **spec: Any) -> None:
        """What a user does with kubectl."""
        if any(self.job["spec"].get(k) != v for k, v in spec.items()):
            self.job["spec"] |= spec
            self.job["metadata"]["generation"] += 1

    # What Kubernetes' controllers and the kubelet do

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)
        over = [kind for kind, (since, _) in self._late.items() if self.now - since > LATEST]
        for kind in over:
            del self._late[kind]

    def step(self) -> None:
        """Each controller does its next step."""
        for batch in self.of("Job"):
            self._job_controller(batch)
        jobs = {j["metadata"]["uid"]: j for j in self.of("Job")}
        for pod in self.of("Pod"):
            self._kubelet(pod, jobs.get(pod["metadata"]["ownerReferences"][0]["uid"]))

    def _job_controller(self, batch: Json) -> None:
        conditions = {c["type"] for c in batch["status"].get("conditions", ())}
        if conditions & {"Complete", "Failed"}:
            return
        pods = self.pods_of(batch)
        live = [p for p in pods if p["status"]["phase"] in ("Pending", "Running")]
        failed = [p for p in pods if p["status"]["phase"] == "Failed" and not p.get("untracked")]
        done = {self.rank(p) for p in pods if p["status"]["phase"] == "Succeeded"}
        if failed and "FailureTarget" not in conditions:
            self._condition(batch, "FailureTarget")
        elif "FailureTarget" in conditions:
            for pod in live:
                self.delete("Pod", pod["metadata"]["name"])
            if not live:
                self._condition(batch, "Failed")
        elif len(done) == batch["spec"]["completions"]:
            self._condition(batch, "Complete")
        elif batch["spec"]["suspend"]:
            if batch["status"].pop("startTime", None) is not None:
                self._condition(batch, "Suspended")
            for pod in live:
                pod["untracked"] = True
                self.delete("Pod", pod["metadata"]["name"])
        else:
            if "startTime" not in batch["status"]:
                batch["status"] = {"startTime": self.now.isoformat()}
            present = {self.rank(p) for p in pods}
            for rank in sorted(set(range(batch["spec"]["completions"])) - present):
                self._make_pod(batch, rank)

    def pods_of(self, batch: Json) -> list[Json]:
        """Pods of one batch Job."""
        uid = batch["metadata"]["uid"]
        return [p for p in self.of("Pod") if p["metadata"]["ownerReferences"][0]["uid"] == uid]

    @staticmethod
    def rank(pod: Json) -> int:
        """A pod's completion index."""
        return int(pod["metadata"]["annotations"][INDEX])

    def _condition(self, batch: Json, kind: str) -> None:
        told = {"type": kind, "status": "True", "lastTransitionTime": self.now.isoformat()}
        batch["status"].setdefault("conditions", []).append(told)

    def _make_pod(self, batch: Json, rank: int) -> None:
        self._uids += 1
        metadata, template = batch["metadata"], batch["spec"]["template"]
        name = f"{metadata['name']}-{rank}-{self._uids}"
        self.objects["Pod", name] = {
            "kind": "Pod",
            "metadata": {
                "namespace": "team", "name": name, "uid": f"uid-{self._uids}",
                "labels": template["metadata"]["labels"],
                "annotations": {INDEX: str(rank)},
                "creationTimestamp": self.now.isoformat(),
                "ownerReferences": [
                    {
                        "kind": "Job", "name": metadata["name"], "uid": metadata["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {
                "nodeName": self._place(template["spec"], rank),
                "containers": [{"name": "worker"}],
            },
            "status": {"phase": "Pending", "startTime": self.now.isoformat()},
        }  # fmt: skip

    def _place(self, pod: Json, rank: int) -> str:
        """The scheduler: a node by rank, of those that are not to be avoided."""
        terms = (
            pod.get("affinity", {})
            .get("nodeAffinity", {})
            .get("requiredDuringSchedulingIgnoredDuringExecution", {})
            .get("nodeSelectorTerms", [{}])
        )
        fields = [field for term in terms for field in term.get("matchFields", ())]
        assert all((f["key"], f["operator"]) == ("metadata.name", "NotIn") for f in fields)
        avoided = {name for field in fields for name in field["values"]}
        names = [node["metadata"]["name"] for node in self.nodes]
        free = [name for name in names if name not in avoided]
        return free[rank % len(free)]

    def _kubelet(self, pod: Json, batch: Json | None) -> None:
        metadata, status = pod["metadata"], pod["status"]
        name = metadata["name"]
        if batch is None and "deletionTimestamp" not in metadata:
            self.delete("Pod", name)
        elif "deletionTimestamp" in metadata:
            if status["phase"] in ("Pending", "Running"):
                self.end(pod, 143)
                return
            counted = batch is None or pod.get("untracked") or batch["status"].get("conditions")
            if counted:
                del self.objects["Pod", name]
        elif status["phase"] == "Pending" and self.unplaceable is not None:
            told = {"reason": "Unschedulable", "message": self.unplaceable}
            status["conditions"] = [{"type": "PodScheduled", "status": "False", **told}]
        elif status["phase"] == "Pending":
            ready = {"type": "Ready", "status": "True"}
            state = {"running": {"startedAt": self.now.isoformat()}}
            status |= {
                "phase": "Running",
                "podIP": f"10.0.0.{metadata['uid'].removeprefix('uid-')}",
                "conditions": [ready],
                "containerStatuses": [{"name": "worker", "state": state}],
            }

    def end(
        self, pod: Json, code: int, word: LastWord | None = None, reason: str | None = None
    ) -> None:
        """A pod's program exits."""
        told = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
        told["finishedAt"] = self.now.isoformat()
        for before in pod["status"].get("containerStatuses", ()):
            told["startedAt"] = before["state"]["running"]["startedAt"]
        pod["status"] |= {
            "phase": "Failed" if code else "Succeeded",
            "conditions": [],
            "containerStatuses": [{"name": "worker", "state": {"terminated": told}}],
        }
        if word is not None:
            self.words[pod["metadata"]["uid"]] = word

    def says(self, progress: Progress, *non_finite: str) -> None:
        """What the first worker of the current attempt reports from now on."""
        self.progress = self.job["status"]["attempt"], progress
        self.non_finite = non_finite

    def running(self, rank: int) -> Json | None:
        """The running pod of a rank."""
        found = [
            p for p in self.of("Pod") if self.rank(p) == rank and p["status"]["phase"] == "Running"
        ]
        return found[0] if found else None

    # Running it

    @property
    def finished(self) -> bool:
        """Whether the job says that it has ended."""
        return TrainingJob.from_object(self.job).status.is_true(ConditionType.FINISHED)

    def run(self, until: Callable[[], bool], limit: int = 400) -> None:
        """Operator and controllers go on, with time passing, until it is so."""
        for _ in range(limit):
            try:
                while self.reconcile() == timedelta(0):
                    pass
            except Crash:
                continue
            if until():
                return
            self.step()
            self.tick(1)
        raise AssertionError(f"not reached in {limit} s: {json.dumps(self.job, indent=1)}")

    def run_for(self, seconds: float) -> None:
        """Operator and controllers go on for so long."""
        end = self.now + timedelta(seconds=seconds)
        self.run(lambda: self.now >= end)

    def all_run(self) -> bool:
        """Whether every worker runs."""
        return all(self.running(rank) for rank in range(self.job["spec"].get("workers", 1)))

    def runs(self, attempt: int) -> bool:
        """Whether every worker of this attempt runs, and the status has this attempt."""
        pods = [self.running(rank) for rank in range(self.job["spec"].get("workers", 1))]
        label = "training.lepton.ai/attempt"
        return self.job["status"].get("attempt") == attempt and all(
            pod is not None
            and pod["metadata"]["labels"][label] == str(attempt)
            and "deletionTimestamp" not in pod["metadata"]
            for pod in pods
        )

    def work_ends_well(self) -> None:
        """Every program that runs exits with 0."""
        for pod in self.of("Pod"):
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]:
                self.end(pod, 0, LastWord())
