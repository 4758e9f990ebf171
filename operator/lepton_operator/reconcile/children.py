"""Which objects of a job are to be made, changed and deleted, and which are in the way."""

from collections.abc import Mapping

from lepton_operator.api import names
from lepton_operator.api.job import TrainingJob
from lepton_operator.reconcile import addresses, manifests
from lepton_operator.reconcile.manifests import Manifest
from lepton_operator.reconcile.observed import ChildView, JobView, Observed
from lepton_operator.reconcile.plan import Deletion
from lepton_operator.reconcile.situation import Situation


def missing(situation: Situation, *, with_job: bool) -> tuple[Manifest, ...]:
    """Objects that the current attempt needs and that are not there."""
    job, spec, settings = situation.job, situation.spec, situation.settings
    found = [manifest for manifest in situation.objects if _present(situation, manifest) is None]
    if with_job:
        # Before the pods, which wait for it. Once they are placed nobody needs it any more.
        group = manifests.pod_group(job, spec, job.status.attempt, settings)
        if group is not None and _present(situation, group) is None:
            found.append(group)
        found.append(manifests.batch_job(job, spec, job.status.attempt, settings))
    return tuple(found)


def outdated(situation: Situation) -> tuple[Manifest, ...]:
    """Services, slices and policies that differ from what is wanted now. A claim can't change, and
    of a Job only `suspend` does."""
    found = []
    for manifest in situation.objects:
        there = _present(situation, manifest)
        wanted = manifest["metadata"]["annotations"][names.ANNOTATION_DESIRED_HASH]
        if (
            manifest["kind"] in ("Service", "EndpointSlice", "NetworkPolicy")
            and there is not None
            and there.owner_uid == _owner_of(manifest)
            and not there.deleting
            and there.desired_hash != wanted
        ):
            found.append(manifest)
    return tuple(found)


def _owner_of(manifest: Manifest) -> str | None:
    owners = manifest["metadata"].get("ownerReferences")
    return owners[0]["uid"] if owners else None


def _present(situation: Situation, manifest: Mapping[str, object]) -> ChildView | None:
    metadata = manifest["metadata"]
    assert isinstance(metadata, Mapping)
    seen = situation.observed
    there: Mapping[object, tuple[ChildView, ...]] = {
        "Service": seen.services,
        "EndpointSlice": seen.slices,
        "PersistentVolumeClaim": seen.claims,
        "NetworkPolicy": seen.policies,
        "PodGroup": seen.groups,
    }
    return next((c for c in there[manifest["kind"]] if c.name == metadata["name"]), None)


def superseded_jobs(situation: Situation) -> tuple[Deletion, ...]:
    """Jobs of attempts before the last one, whose logs nobody needs; and the last one's, if it
    still runs (its failure was seen in other ways than by its failing)."""
    current = situation.status.attempt
    return tuple(
        Deletion("Job", view.name, view.uid) if view.over else while_it_runs(view)
        for view in sorted(situation.own_jobs, key=lambda view: view.name)
        if view.attempt is not None
        and not view.deleting
        and (view.attempt < current - 1 or (view.attempt < current and not view.over))
    )


def while_it_runs(view: JobView) -> Deletion:
    """The deletion of a Job that has not ended, unless it has meanwhile."""
    return Deletion("Job", view.name, view.uid, version=view.version)


def superseded_groups(situation: Situation) -> tuple[Deletion, ...]:
    """Groups of attempts whose Jobs are gone, but for the one that is about to be made."""
    current = situation.status.attempt
    return tuple(
        group
        for group in groups_without_job(situation.job, situation.observed)
        if group.name != manifests.job_name(situation.job, current)
    )


def groups_without_job(job: TrainingJob, observed: Observed) -> tuple[Deletion, ...]:
    """Groups of whose attempts there is no Job any more."""
    there = {view.name for view in observed.jobs if not view.deleting}
    return tuple(
        Deletion("PodGroup", view.name, view.uid, view.api_version)
        for view in sorted(observed.groups, key=lambda view: view.name)
        if view.owner_uid == job.uid and not view.deleting and view.name not in there
    )


def superseded_slices(situation: Situation) -> tuple[Deletion, ...]:
    """Slices that the current attempt, which has fewer workers than one before, has no addresses
    for. It writes the others anew."""
    current = situation.current_job
    if current is None:
        return ()
    wanted = addresses.slice_names(situation.job.name, current.workers)
    return tuple(
        Deletion("EndpointSlice", view.name, view.uid)
        for view in sorted(situation.observed.slices, key=lambda view: view.name)
        if view.owner_uid == situation.job.uid and not view.deleting and view.name not in wanted
    )


def unfinished_jobs(job: TrainingJob, observed: Observed) -> tuple[Deletion, ...]:
    """Jobs that may still have running pods, of a training job that has ended."""
    return tuple(
        while_it_runs(view)
        for view in sorted(observed.jobs, key=lambda view: view.name)
        if view.owner_uid == job.uid and not (view.deleting or view.over)
    )


def finished_jobs(job: TrainingJob, observed: Observed) -> tuple[Deletion, ...]:
    """Jobs whose pods are kept for their logs alone."""
    return tuple(
        Deletion("Job", view.name, view.uid)
        for view in sorted(observed.jobs, key=lambda view: view.name)
        if view.owner_uid == job.uid and view.over and not view.deleting
    )


def in_the_way(situation: Situation) -> str | None:
    """What must be gone before the attempt may start: pods of the last attempt, whose rendezvous
    would be met, and objects of an earlier job of this name."""
    pods = situation.pods_in_the_way
    if pods:
        first = min(pods, key=lambda pod: pod.name)
        return f"waiting for {len(pods)} pods of an earlier attempt to end, such as {first.name}"
    seen = situation.observed
    wanted = {
        manifest["metadata"]["name"]
        for manifest in (
            *situation.objects,
            {"metadata": {"name": manifests.job_name(situation.job, situation.status.attempt)}},
        )
    }
    for service in seen.services:
        if service.deleting and service.name in wanted:
            return f"waiting for Service {service.name} to be deleted, which is made anew then"
    plain = (*seen.slices, *seen.claims, *seen.policies)
    for child in (*seen.jobs, *plain, *seen.groups):
        stranger = child.owner_uid != situation.job.uid
        if child.name in wanted and (child.deleting or stranger):
            return f"waiting for {child.name}, left by an earlier job of this name, to be deleted"
    return None
