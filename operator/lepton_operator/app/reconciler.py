"""One pass over one job: look, decide, carry out. The only place where plan meets API server."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from lepton.spec.report import LastWord
from lepton_operator.api import names
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.app.caches import Caches
from lepton_operator.app.lookups import Lookups
from lepton_operator.app.metrics import Metrics
from lepton_operator.app.resources import SERVICES, TRAINING_JOBS, resource_of
from lepton_operator.engine.client import ApiError, Client
from lepton_operator.engine.diff import merge_patch
from lepton_operator.engine.effects import Conflict, Effects, NameTaken, Refused
from lepton_operator.engine.workers import TryAgain
from lepton_operator.progress.board import Board
from lepton_operator.progress.collector import Key
from lepton_operator.progress.last_words import LOG_TAIL_BYTES, LOG_TAIL_LINES, parse_last_word
from lepton_operator.progress.pacing import Pacer
from lepton_operator.reconcile.decide import decide
from lepton_operator.reconcile.observed import Observed, PodView
from lepton_operator.reconcile.plan import Plan
from lepton_operator.reconcile.settings import Settings

log = logging.getLogger(__name__)

MAX_LOOK_UPS = 4
"""More than one plan asks for in a row."""
AFTER_CONFLICT = 1.0
"""Seconds until an object is looked at again that had changed before a write."""
MAX_LOGS = 8
"""Logs to read of one job at most: the cause of a failure is among the first to fail."""

OWNED_STATUS_FIELDS = frozenset(
    field.alias or name for name, field in LeptonTrainingJobStatus.model_fields.items()
)
"""Fields of status that are ours to remove; those of a newer version are left alone."""


@dataclass(frozen=True)
class Obstacle:
    """What stands in the way of a job's objects."""

    uid: str
    """Of the job."""
    field: Literal["refused", "refused_for_now", "name_taken"]
    """Of Observed, by which decide is told."""
    text: str


class Reconciler:
    """Brings one job a step closer to what its manifest asks for."""

    def __init__(
        self,
        *,
        client: Client,
        caches: Caches,
        effects: Effects,
        board: Board[Key],
        pacer: Pacer[Key],
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._caches = caches
        self._effects = effects
        self._board = board
        self._pacer = pacer
        self._settings = settings
        self._metrics = metrics
        self._lookups = Lookups(client)
        self._log_tails: dict[Key, dict[str, str]] = {}
        """Of each job's failed pods without a last word, by the pod's UID; read once."""
        self._made: dict[Key, set[tuple[str, str, str]]] = {}
        """Objects that were made of each job: its UID, their kind and name."""
        self._sharing = asyncio.Lock()
        """While something is made that is not one job's alone."""
        self._obstacles: dict[Key, Obstacle] = {}
        """Why an object of a job can't be made, for good or since it was last tried."""

    async def reconcile(self, key: Key) -> float | None:
        """One pass; returns in how many seconds to look again, if at all."""
        job = self._caches.training_jobs.get(*key)
        if job is None or job.deleting:
            self._forget(key)
            if job is None:
                await self._tidy(key[0])
            return None
        observed = await self._observe(job)
        plan = decide(job, observed, self._settings, self._client.clock.now())
        for _ in range(MAX_LOOK_UPS):
            if plan.look_up is None:
                return await self._carry_out(job, plan)
            observed = await self._lookups.with_answers(plan.look_up, observed, job.namespace)
            plan = decide(job, observed, self._settings, self._client.clock.now())
        raise RuntimeError(f"decide asks again for what it was given: {plan.look_up}")

    def _forget(self, key: Key) -> None:
        self._caches.forget(key)
        self._board.forget(key)
        self._pacer.forget(key)
        self._log_tails.pop(key, None)
        self._obstacles.pop(key, None)
        self._made.pop(key, None)

    async def _tidy(self, namespace: str) -> None:
        """With the last job of a namespace goes what its jobs have shared. Should one come just
        then, it sees the Service go, and makes another."""
        service = self._caches.idle_service(namespace)
        if service is not None:
            left = await self._effects.delete(SERVICES, namespace, service.name, service.uid)
            self._caches.deleted(SERVICES, namespace, service.name, service.uid, left)

    async def _observe(self, job: TrainingJob) -> Observed:
        children, departed = self._caches.children_of(job.key), self._caches.departed(job)
        obstacle = self._obstacles.get(job.key)
        told = {obstacle.field: obstacle.text} if obstacle and obstacle.uid == job.uid else {}
        last_words: dict[str, LastWord] = {}
        silent: list[PodView] = []
        for pod in (*children.pods, *departed):
            word = parse_last_word(pod.termination_message)
            if word is not None:
                last_words[pod.uid] = word
            explained = word is not None and word.error is not None
            asked_to_end = pod.delete_requested_time is not None
            if pod.exit_code and not explained and not asked_to_end:
                silent.append(pod)
        sample = self._board.get(job.key, job.status.attempt)
        return replace(
            children,
            departed=departed,
            progress=sample.progress if sample else None,
            progress_time=sample.time if sample else None,
            asked_time=self._board.last_asked(job.key, job.status.attempt),
            non_finite=sample.non_finite if sample else (),
            trend=sample.trend if sample else None,
            last_words=last_words,
            log_tails=await self._logs_of(job, silent),
            refused=told.get("refused"),
            refused_for_now=told.get("refused_for_now"),
            name_taken=told.get("name_taken"),
        )

    async def _logs_of(self, job: TrainingJob, pods: list[PodView]) -> dict[str, str]:
        """Ends of the logs of pods that failed without a word; empty where there is none to be
        had, which is no reason to wait."""
        known = self._log_tails.pop(job.key, {})
        tails: dict[str, str] = {}
        for pod in pods:
            if job.status.is_true(names.ConditionType.FINISHED) or len(tails) == MAX_LOGS:
                break
            if pod.uid not in known:
                path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/log"
                # limitBytes may be exceeded slightly.
                params = {"tailLines": str(LOG_TAIL_LINES), "limitBytes": str(LOG_TAIL_BYTES)}
                try:
                    known[pod.uid] = await self._client.get_text(
                        path, params, most=2 * LOG_TAIL_BYTES
                    )
                except ApiError as error:
                    log.info("no log of pod %s/%s: %s", pod.namespace, pod.name, error)
                    known[pod.uid] = ""
            tails[pod.uid] = known[pod.uid]
        if tails:
            self._log_tails[job.key] = tails
        return tails

    async def _carry_out(self, job: TrainingJob, plan: Plan) -> float | None:
        """Status first, so that an attempt is counted before its Job exists, and the events that
        tell of it; then the objects."""
        again = plan.again_in.total_seconds() if plan.again_in is not None else None
        patch: dict[str, Any] = {}
        if plan.status != job.status:
            # Else not even its form is touched: it may be another controller's.
            patch = merge_patch(job.raw_status, plan.status.to_json_object(), OWNED_STATUS_FIELDS)
        if patch:
            wait = 0.0 if plan.urgent else self._pacer.wait(job.key, starting=plan.starting)
            if wait > 0:
                again = wait if again is None else min(again, wait)
            else:
                try:
                    await self._write_status(job, patch)
                except Conflict:
                    # The job changed since; its watch event is on its way and brings us back.
                    return AFTER_CONFLICT
                for note in plan.events:
                    await self._tell(job, note.type, note.reason, note.message)
                # Our own write brings no event, and what comes next may follow from it.
                again = 0.0
        try:
            if not await self._create(job, plan.create):
                return 0.0
        except Refused as error:
            # A deadline may pass before it is tried again.
            raise TryAgain(str(error), plan.again_in) from error
        for manifest in plan.apply:
            resource = resource_of(manifest["kind"], manifest["apiVersion"])
            answer = await self._effects.apply(resource, dict(manifest), names.MANAGER)
            self._caches.wrote(resource, answer)
        for deletion in plan.delete:
            resource = resource_of(deletion.kind, deletion.api_version)
            left = await self._effects.delete(
                resource, job.namespace, deletion.name, deletion.uid, deletion.version
            )
            self._caches.deleted(resource, job.namespace, deletion.name, deletion.uid, left)
            if left is not None and "deletionTimestamp" not in left["metadata"]:
                # It changed since it was seen: what it is now decides. Not at once, or somebody
                # who answers like that for ever would be asked as often as can be.
                again = AFTER_CONFLICT
        return again

    def _age(self, job: TrainingJob) -> float:
        """How many seconds ago the first worker said what is known of its progress."""
        sample = self._board.get(job.key, job.status.attempt)
        if sample is None:
            return 0.0
        return max(0.0, (self._client.clock.now() - sample.time).total_seconds())

    async def _create(self, job: TrainingJob, manifests: Iterable[Mapping[str, Any]]) -> bool:
        """Make objects; False when one can't be made for good, which decide then deals with."""
        made = self._made.setdefault(job.key, set())
        try:
            for manifest in manifests:
                which = (job.uid, manifest["kind"], manifest["metadata"]["name"])
                if which in made and not await self._is_there(job):
                    return False
                await self._make(manifest)
                made.add(which)
        except NameTaken as error:
            self._obstacles[job.key] = Obstacle(job.uid, "name_taken", str(error))
            return False
        except Refused as error:
            if error.permanent:
                self._obstacles[job.key] = Obstacle(job.uid, "refused", error.message)
                return False
            if not error.namespace_terminating:
                # Quota or admission: it may pass later, and until then the user should know.
                text = f"{manifest['kind']} {manifest['metadata']['name']} can't be made"
                text = f"{text}: {error.message}"
                self._obstacles[job.key] = Obstacle(job.uid, "refused_for_now", text)
                await self._tell(job, "Warning", names.Reason.CREATION_REFUSED, error.message)
            raise
        obstacle = self._obstacles.get(job.key)
        if obstacle is not None and obstacle.field == "refused_for_now":
            del self._obstacles[job.key]
        return True

    async def _make(self, manifest: Mapping[str, Any]) -> None:
        if "ownerReferences" in manifest["metadata"]:
            await self._post(manifest)
            return
        # Other jobs want it, too: a thousand that come at once ask for it once.
        async with self._sharing:
            if not self._caches.have(manifest):
                await self._post(manifest)

    async def _post(self, manifest: Mapping[str, Any]) -> None:
        resource = resource_of(manifest["kind"], manifest["apiVersion"])
        self._caches.wrote(resource, await self._effects.create(resource, dict(manifest)))

    async def _is_there(self, job: TrainingJob) -> bool:
        """Whether the job exists, when an object of its own has vanished: it may have gone with a
        job that was deleted while nobody watched, and would be made and deleted for ever."""
        try:
            found = await self._client.get(TRAINING_JOBS.path(*job.key))
        except ApiError as error:
            if error.status != 404:
                raise
            self._caches.training_job_gone(job.key)
            return False
        if found["metadata"]["uid"] != job.uid:
            self._caches.training_job_gone(job.key)
            self._caches.training_jobs.upsert(found)
            return False
        return True

    async def _tell(self, job: TrainingJob, kind: str, reason: names.Reason, text: str) -> None:
        """An event for the job's users, and a line for the operator's."""
        log.log(
            logging.WARNING if kind == "Warning" else logging.INFO,
            text,
            extra={"job": f"{job.namespace}/{job.name}", "reason": str(reason)},
        )
        regarding = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"namespace": job.namespace, "name": job.name, "uid": job.uid},
        }
        await self._effects.event(regarding, kind, str(reason), text, action="Reconcile")

    async def _write_status(self, job: TrainingJob, patch: Mapping[str, Any]) -> None:
        age = self._age(job)
        answer = await self._effects.patch_status(
            TRAINING_JOBS, job.namespace, job.name, job.resource_version, dict(patch)
        )
        before = job.status.attempts[-1:]
        self._caches.wrote(TRAINING_JOBS, answer)
        self._pacer.written(job.key, age)
        written = self._caches.training_jobs.get(*job.key)
        last = written.status.attempts[-1:] if written is not None else []
        if last and last != before and last[0].failure_class is not None:
            self._metrics.attempts_failed.labels(str(last[0].failure_class)).inc()
