"""After the end: what still runs is stopped, pods go after a while, and in the end the job."""

from datetime import datetime, timedelta

from lepton_operator.api.job import TrainingJob
from lepton_operator.reconcile import children
from lepton_operator.reconcile.observed import Observed
from lepton_operator.reconcile.plan import Deletion, Plan
from lepton_operator.reconcile.settings import Settings


def after_the_end(job: TrainingJob, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """What is left to do for a job that has finished. Its status stays as it is."""
    left = _time_left(job, now, _seconds_to_live(job))
    if left is not None and left <= timedelta(0):
        # What it owns goes with it. Its user may have asked for another time just now.
        deletion = Deletion("LeptonTrainingJob", job.name, job.uid, version=job.resource_version)
        return Plan(job.status, delete=(deletion,))
    delete = (
        *children.unfinished_jobs(job, observed),
        *children.groups_without_job(job, observed),
    )
    pods_left = None
    finished = children.finished_jobs(job, observed)
    if finished:
        pods_left = _time_left(job, now, settings.finished_pods_kept)
        if pods_left is not None and pods_left <= timedelta(0):
            delete, pods_left = (*delete, *finished), None
    waits = [wait for wait in (left, pods_left) if wait is not None]
    return Plan(job.status, delete=delete, again_in=min(waits, default=None))


def _seconds_to_live(job: TrainingJob) -> timedelta | None:
    """From the raw spec: a job with an invalid one has ended, too, and is to go all the same."""
    seconds = job.spec.get("ttlSecondsAfterFinished")
    return timedelta(seconds=seconds) if isinstance(seconds, int) else None


def _time_left(job: TrainingJob, now: datetime, kept: timedelta | None) -> timedelta | None:
    end = job.status.completion_time
    return None if kept is None or end is None else end + kept - now
