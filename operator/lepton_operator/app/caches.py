"""What the operator knows of the cluster: training jobs from kopf, children from reflectors."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from lepton_operator.api.job import TrainingJob
from lepton_operator.api.names import LABEL_MANAGED_BY, MANAGER, ConditionType
from lepton_operator.api.scheduling import Gang
from lepton_operator.app.resources import (
    CLAIMS,
    JOBS,
    POD_GROUPS,
    PODS,
    POLICIES,
    SERVICES,
    SLICES,
    TRAINING_JOBS,
    resource_of,
)
from lepton_operator.engine.client import Client
from lepton_operator.engine.queue import Lane
from lepton_operator.engine.reflector import Reflector
from lepton_operator.engine.resources import Resource
from lepton_operator.engine.resync import INTERVAL, KeyAudit
from lepton_operator.engine.store import Change, Store
from lepton_operator.reconcile.addresses import SERVICE
from lepton_operator.reconcile.manifests import job_name
from lepton_operator.reconcile.observed import (
    ChildView,
    GroupView,
    JobView,
    Observed,
    PlainView,
    PodView,
)

OURS = f"{LABEL_MANAGED_BY}={MANAGER}"
"""Selects the objects that an operator has made."""

VANISHED_SECONDS = 10.0
"""For how long the watch of pods may be behind that of Jobs, and more."""

COUNTED_SECONDS = 5.0
"""For how long a count of jobs is good enough."""

Key = tuple[str, str]
Child = TypeVar("Child", bound=ChildView)


def owner_key(child: ChildView) -> Key | None:
    """(namespace, name) of the training job that a child belongs to, by its label."""
    return (child.namespace, child.job) if child.job else None


def _is_first(pod: PodView) -> bool:
    return pod.rank == 0 and pod.phase == "Running" and not pod.deleting


def _group_of(api_version: str) -> Callable[[dict[str, Any]], GroupView]:
    return lambda raw: GroupView.from_object(raw, api_version)


class Caches:
    """The stores. Every change brings the key of its job to `on_change`, with how soon it is to be
    looked at. PodGroups are watched of those `gangs` that have them."""

    def __init__(
        self,
        client: Client,
        namespace: str | None,
        on_change: Callable[[Key, Lane], None],
        gangs: Iterable[Gang] = (),
        audit_seconds: float = INTERVAL,
    ) -> None:
        self._on_change = on_change
        self._vanished: dict[Key, float] = {}
        """When a batch Job was last seen to go, by its training job; the latest last."""
        self._departed: dict[Key, dict[str, PodView]] = {}
        """Pods of the current attempt that had ended and are gone, by training job and UID."""
        self._first: dict[Key, PodView] = {}
        """Pods that run and bear the labels of a first worker, by their own names."""
        self._unfinished = (0, -COUNTED_SECONDS)
        """How many training jobs had not ended, and when they were counted."""
        self.training_jobs: Store[TrainingJob] = Store(
            TrainingJob.from_object, self._training_job_changed, index=lambda job: job.namespace
        )

        def reflect(
            resource: Resource,
            trim: Callable[[dict[str, Any]], Child],
            carry: Callable[[Child, Child], Child] | None = None,
            on_change: Change[Child] = self._child_changed,
        ) -> Reflector[Child]:
            return Reflector(
                client,
                resource,
                trim,
                index=owner_key,
                carry=carry,
                namespace=namespace,
                label_selector=OURS,
                on_change=on_change,
            )

        self._jobs = reflect(JOBS, JobView.from_object)
        self._pods = reflect(PODS, PodView.from_object, PodView.carry)
        self._services = reflect(SERVICES, PlainView.from_object, on_change=self._service_changed)
        self._slices = reflect(SLICES, PlainView.from_object)
        self._claims = reflect(CLAIMS, PlainView.from_object)
        self._policies = reflect(POLICIES, PlainView.from_object)
        self._groups = {
            POD_GROUPS[gang]: reflect(POD_GROUPS[gang], _group_of(POD_GROUPS[gang].api_version))
            for gang in sorted(gangs)
            if gang in POD_GROUPS
        }
        self._reflectors: dict[Resource, Reflector[Any]] = {
            JOBS: self._jobs,
            PODS: self._pods,
            SERVICES: self._services,
            SLICES: self._slices,
            CLAIMS: self._claims,
            POLICIES: self._policies,
            **self._groups,
        }
        self.audits = tuple(
            self._audit(client, namespace, reflector, audit_seconds)
            for reflector in self._reflectors.values()
        )
        """What finds events of children that were lost, and has the objects listed anew."""

    @staticmethod
    def _audit(
        client: Client, namespace: str | None, reflector: Reflector[Any], interval: float
    ) -> KeyAudit:
        def list_again(_: Key) -> None:
            reflector.request_list()

        return KeyAudit(
            client,
            reflector.resource,
            reflector.store.known,
            on_missing=list_again,
            on_unknown=list_again,
            on_stale=list_again,
            namespace=namespace,
            label_selector=OURS,
            interval=interval,
        )

    @property
    def reflectors(self) -> Mapping[str, Reflector[Any]]:
        """The reflectors by what they watch."""
        return {
            ".".join(filter(None, (resource.plural, resource.group))): reflector
            for resource, reflector in self._reflectors.items()
        }

    def children_of(self, key: Key) -> Observed:
        """The objects of one training job, and its namespace's Service."""
        namespace, _ = key
        service = self._services.store.get(namespace, SERVICE)
        return Observed(
            jobs=self._jobs.store.by_index(key),
            pods=self._pods.store.by_index(key),
            services=(service,) if service is not None else (),
            slices=self._slices.store.by_index(key),
            claims=self._claims.store.by_index(key),
            policies=self._policies.store.by_index(key),
            groups=tuple(g for r in self._groups.values() for g in r.store.by_index(key)),
            job_vanished_ago=self._vanished_ago(key),
        )

    def idle_service(self, namespace: str) -> PlainView | None:
        """The Service of a namespace without training jobs, if it is there."""
        service = self._services.store.get(namespace, SERVICE)
        if service is None or service.deleting or self.training_jobs.has_index(namespace):
            return None
        return service

    def idle_services(self) -> list[Key]:
        """Where such Services are, whose last job went while no operator was there to see it."""
        there = self._services.store.keys()
        return [key for key in there if self.idle_service(key[0]) is not None]

    def departed(self, job: TrainingJob) -> tuple[PodView, ...]:
        """Pods of the job's current attempt that had ended, and are gone; others are dropped."""
        known = self._departed.get(job.key, {})
        pods = tuple(pod for pod in known.values() if pod.attempt == job.status.attempt)
        if not pods or job.status.is_true(ConditionType.FINISHED):
            self._departed.pop(job.key, None)
            return ()
        return pods

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a training job that is gone."""
        self._departed.pop(key, None)

    def first_workers(self) -> Iterator[tuple[Key, PodView]]:
        """First workers that train now, with the keys of their training jobs. What a pod that
        merely bears their labels says is not their progress."""
        for pod in self._first.values():
            job = self.training_jobs.get(pod.namespace, pod.job or "")
            if job is None or job.status.attempt != pod.attempt:
                continue
            batch = self._jobs.store.get(pod.namespace, job_name(job, pod.attempt))
            if batch is None or (batch.uid, batch.owner_uid) != (pod.owner_uid, job.uid):
                continue
            if not job.status.is_true(ConditionType.FINISHED):
                yield job.key, pod

    def unfinished(self) -> int:
        """How many training jobs have not ended, as of a moment ago."""
        count, counted = self._unfinished
        now = time.monotonic()
        if now - counted >= COUNTED_SECONDS:
            jobs = self.training_jobs.values()
            count = sum(not job.status.is_true(ConditionType.FINISHED) for job in jobs)
            self._unfinished = (count, now)
        return count

    def _vanished_ago(self, key: Key) -> timedelta | None:
        since = self._vanished.get(key)
        ago = time.monotonic() - since if since is not None else VANISHED_SECONDS
        return timedelta(seconds=ago) if ago < VANISHED_SECONDS else None

    def _note_vanished(self, key: Key) -> None:
        now = time.monotonic()
        self._vanished.pop(key, None)
        self._vanished[key] = now
        # The oldest come first.
        while self._vanished and now - next(iter(self._vanished.values())) >= VANISHED_SECONDS:
            del self._vanished[next(iter(self._vanished))]

    def _note_departed(self, key: Key, pod: PodView) -> None:
        job = self.training_jobs.get(*key)
        if job is None or job.status.attempt != pod.attempt or not pod.finished:
            return
        if not job.status.is_true(ConditionType.FINISHED):
            self._departed.setdefault(key, {})[pod.uid] = pod

    def training_job_gone(self, key: Key) -> None:
        """Drop a training job that is known and does not exist any more."""
        known = self.training_jobs.known().get(key)
        if known is not None:
            namespace, name = key
            self.training_jobs.delete(
                {
                    "metadata": {
                        "namespace": namespace,
                        "name": name,
                        "uid": known.uid,
                        "resourceVersion": known.version,
                    }
                }
            )

    def deleted(
        self, resource: Resource, namespace: str, name: str, uid: str, answer: dict[str, Any] | None
    ) -> None:
        """Take the answer to a deletion of our own."""
        if resource == JOBS and answer is None:
            view = self._jobs.store.get(namespace, name)
            if view is not None and view.uid == uid and view.job is not None:
                self._note_vanished((namespace, view.job))
        self._store(resource).deletion_response(namespace, name, uid, answer)

    def wrote(self, resource: Resource, raw: dict[str, Any]) -> None:
        """Take the answer to a write of our own, ahead of the watch."""
        self._store(resource).upsert_response(raw)

    def have(self, manifest: Mapping[str, Any]) -> bool:
        """Whether there is an object of the manifest's kind and name."""
        resource = resource_of(manifest["kind"], manifest["apiVersion"])
        metadata = manifest["metadata"]
        return self._store(resource).get(metadata["namespace"], metadata["name"]) is not None

    def _store(self, resource: Resource) -> Store[Any]:
        if resource.kind == TRAINING_JOBS.kind:
            return self.training_jobs
        return self._reflectors[resource].store

    def _training_job_changed(self, old: TrainingJob | None, new: TrainingJob | None) -> None:
        is_new = old is None and new is not None and new.status.attempt == 0
        for job in (old, new):
            if job is not None:
                self._on_change(job.key, Lane.NEW if is_new else Lane.CHANGED)

    def _service_changed(self, old: PlainView | None, new: PlainView | None) -> None:
        if old is not None and old.name == SERVICE:
            # It may be gone or not what it should be, which is any job's to mend.
            for job in self.training_jobs.by_index(old.namespace):
                self._on_change(job.key, Lane.CHANGED)

    def _child_changed(self, old: ChildView | None, new: ChildView | None) -> None:
        if isinstance(old, JobView) and old.job and (new is None or new.uid != old.uid):
            self._note_vanished((old.namespace, old.job))
        if isinstance(old, PodView) and old.job and (new is None or new.uid != old.uid):
            self._note_departed((old.namespace, old.job), old)
        if isinstance(old, PodView):
            self._first.pop((old.namespace, old.name), None)
        if isinstance(new, PodView) and _is_first(new):
            self._first[new.namespace, new.name] = new
        for view in (old, new):
            key = owner_key(view) if view is not None else None
            if key is not None:
                self._on_change(key, Lane.CHANGED)
