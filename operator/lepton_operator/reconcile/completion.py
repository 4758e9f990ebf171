"""The end of a good run: the last word of the first worker, and what it leaves in the status."""

from lepton.spec.report import LastWord
from lepton_operator.api.status import LARGEST_COUNT, LeptonTrainingJobStatus
from lepton_operator.reconcile.observed import PodView
from lepton_operator.reconcile.outcome import verdict, with_last_word
from lepton_operator.reconcile.situation import Situation
from lepton_operator.reconcile.volumes import claim_name, run_folder


def may_still_speak(situation: Situation) -> bool:
    """Whether the first worker's last word may only not have been seen yet.

    The message comes with the container's end in one update of the pod, so once the pod is seen
    finished, no message means that there is none.
    """
    current = situation.current_job
    first = first_worker(situation)
    if first is not None and first.finished:
        return False
    ended = current.finished_time if current is not None else None
    return ended is not None and situation.now < ended + situation.settings.last_word_wait


def first_worker(situation: Situation) -> PodView | None:
    """The pod of rank 0, if need be one that is gone; of several the one that ended well."""
    pods = [pod for pod in situation.witnesses if pod.rank == 0]
    return min(pods, key=lambda pod: (pod.phase != "Succeeded", pod.name), default=None)


def last_word(situation: Situation) -> LastWord | None:
    """What the first worker said at its end."""
    first = first_worker(situation)
    return situation.observed.last_words.get(first.uid) if first is not None else None


def with_outcome(
    status: LeptonTrainingJobStatus, situation: Situation
) -> tuple[LeptonTrainingJobStatus, str]:
    """The status with the last figures, evaluation and model, and what to tell of them."""
    claim = claim_name(situation.job, situation.spec)
    location = f"pvc://{claim}/{run_folder(situation.job)}" if claim is not None else None
    word = last_word(situation)
    status = with_last_word(status, word, location=location, time=situation.now)
    return status, verdict(status.evaluation)


def step_reached(situation: Situation, status: LeptonTrainingJobStatus) -> int | None:
    """The step at which a failed attempt ended, as far as is known."""
    word = last_word(situation)
    if word is not None and word.progress is not None:
        return min(word.progress.step, LARGEST_COUNT)
    return status.progress.step if status.progress is not None else None
