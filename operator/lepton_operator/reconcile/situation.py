"""One job at one moment: what is asked for, what is there, what time it is."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from lepton_operator.api.job import TrainingJob
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.manifests import GRACE_SECONDS, Manifest
from lepton_operator.reconcile.observed import GroupView, JobView, Observed, PodView
from lepton_operator.reconcile.settings import Settings
from lepton_operator.reconcile.silence import Silence, silences

LOST_AFTER = timedelta(seconds=GRACE_SECONDS + 30)
"""A pod that was asked to end so long ago and has not is on a node that does not answer."""


@dataclass(frozen=True)
class Situation:
    """What the policies look at."""

    job: TrainingJob
    spec: LeptonTrainingJobSpec
    observed: Observed
    settings: Settings
    now: datetime
    """In whole seconds, as the API server's times are."""

    def with_status(self, status: LeptonTrainingJobStatus) -> "Situation":
        """The same with another status, as if it had been written already."""
        return replace(self, job=replace(self.job, status=status))

    @property
    def status(self) -> LeptonTrainingJobStatus:
        """What was last written."""
        return self.job.status

    @cached_property
    def objects(self) -> tuple[Manifest, ...]:
        """What every attempt needs beside its Job, and what the current one does by now."""
        always = manifests.objects(self.job, self.spec, self.settings)
        current = self.current_job
        if current is None or current.over:
            return always
        return *always, *manifests.endpoint_slices(self.job, current, self.pods)

    @cached_property
    def own_jobs(self) -> tuple[JobView, ...]:
        """Batch Jobs that this training job owns; one of the same name that was deleted may have
        left others."""
        return tuple(j for j in self.observed.jobs if j.owner_uid == self.job.uid)

    @cached_property
    def current_job(self) -> JobView | None:
        """The batch Job of the current attempt, unless it is being deleted."""
        wanted = self.status.attempt
        return next((j for j in self.own_jobs if j.attempt == wanted and not j.deleting), None)

    @property
    def current_group(self) -> GroupView | None:
        """The group of the current attempt's pods, where they have one."""
        current = self.current_job
        if current is None:
            return None
        return next((group for group in self.observed.groups if group.name == current.name), None)

    @cached_property
    def pods(self) -> tuple[PodView, ...]:
        """Pods of the current attempt's Job."""
        current = self.current_job
        if current is None:
            return ()
        return tuple(pod for pod in self.observed.pods if pod.owner_uid == current.uid)

    @cached_property
    def witnesses(self) -> tuple[PodView, ...]:
        """The same, and those that are gone since they ended."""
        current = self.current_job
        if current is None:
            return ()
        gone = (pod for pod in self.observed.departed if pod.owner_uid == current.uid)
        return (*self.pods, *gone)

    @cached_property
    def silences(self) -> tuple[Silence, ...]:
        """Which processes of the current attempt were missed by others, the first one first."""
        processes = manifests.processes_per_worker(self.spec)
        return silences(self.witnesses, self.observed.last_words, processes)

    @property
    def pods_in_the_way(self) -> tuple[PodView, ...]:
        """Pods of whatever attempt, or of an earlier job of this name, that still run.

        Their Jobs may be gone, so that it is by a Job's name that they are told from pods which
        somebody made by hand with our labels.
        """
        return tuple(
            pod
            for pod in self.observed.pods
            if manifests.is_job_name(self.job, pod.made_by) and not self.is_over(pod)
        )

    def is_over(self, pod: PodView) -> bool:
        """Whether nothing of the pod runs, as far as can be known."""
        return pod.finished or self.is_lost(pod)

    def is_lost(self, pod: PodView) -> bool:
        """Whether the pod was asked to end and its node does not answer."""
        asked = pod.delete_requested_time
        return not pod.finished and asked is not None and self.now >= asked + LOST_AFTER
