"""What must not depend on faults: the end of a life, the states on the way, the cost in writes."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from campaign.proxy import Exchange
from campaign.recorder import Json, Seen
from lepton_operator.api.names import LABEL_ATTEMPT
from lepton_operator.api.status import LeptonTrainingJobStatus
from lepton_operator.reconcile.decide import is_urgent

INDEX = "batch.kubernetes.io/job-completion-index"
OF_ITS_TIME = frozenset(
    {
        "startTime", "completionTime", "endTime", "lastTransitionTime", "updatedTime",
        "lastStepTime", "stepsPerSecond", "remainingSeconds", "remaining", "trend",
        "activeSeconds", "activeSince",
    }
)  # fmt: skip
"""Fields of status that say when something was or how fast it went."""
POD_NAME = re.compile(r"(-\d+-\d+)-[a-z0-9]{5}\b")


def timeless(value: Any, without: frozenset[str] = OF_ITS_TIME) -> Any:
    """A status without what differs from one run to the next."""
    if isinstance(value, dict):
        return {k: timeless(v, without) for k, v in sorted(value.items()) if k not in without}
    if isinstance(value, list):
        return [timeless(item, without) for item in value]
    return POD_NAME.sub(r"\1-*", value) if isinstance(value, str) else value


def attempt_of(child: Json) -> int:
    """Which attempt a Job or pod belongs to."""
    return int(child["metadata"]["labels"][LABEL_ATTEMPT])


def is_live(pod: Json) -> bool:
    """Whether something of a pod runs, or may yet."""
    return (pod.get("status") or {}).get("phase", "Pending") not in ("Succeeded", "Failed")


def pod_essence(pod: Json) -> tuple[int, str, str]:
    """Attempt, rank and phase of a pod."""
    metadata = pod["metadata"]
    return attempt_of(pod), metadata["annotations"][INDEX], pod["status"]["phase"]


@dataclass
class Forbidden:
    """Goes through what happened to one training job and its children, and finds what must not be.

    `removed` are UIDs of Jobs that the life itself deletes: another may be made of their attempt.
    """

    removed: frozenset[str] = frozenset()
    found: list[str] = field(default_factory=list)
    _job: Json | None = None
    _pods: dict[str, Json] = field(default_factory=dict)
    _made: dict[tuple[str, int], str] = field(default_factory=dict)

    def look_at(self, history: Iterable[Seen]) -> list[str]:
        """What was forbidden, in words."""
        for seen in history:
            if seen.resource == "leptontrainingjobs":
                self._training_job(seen)
            elif LABEL_ATTEMPT not in (seen.object["metadata"].get("labels") or {}):
                continue
            elif seen.resource == "jobs":
                self._batch_job(seen)
            else:
                self._pod(seen)
        return self.found

    def _say(self, seen: Seen, text: str) -> None:
        self.found.append(f"revision {seen.version}: {text}")

    def _training_job(self, seen: Seen) -> None:
        before, self._job = self._job, seen.object if seen.type != "DELETED" else None
        if before is None or self._job is None:
            return
        if before["metadata"]["uid"] != self._job["metadata"]["uid"]:
            return
        old, new = before.get("status") or {}, self._job.get("status") or {}
        told = {c["type"]: c for c in old.get("conditions", ())}
        if told.get("Finished", {}).get("status") == "True" and old != new:
            self._say(seen, f"status changed after the end: {_difference(old, new)}")
        for counter in ("attempt", "restarts", "interruptions", "observedGeneration"):
            if new.get(counter, 0) < old.get(counter, 0):
                self._say(seen, f"{counter} went from {old[counter]} to {new.get(counter, 0)}")
        # A resize is an attempt and no restart.
        if new.get("attempt", 0) > 0 and new.get("restarts", 0) >= new["attempt"]:
            self._say(seen, f"{new.get('restarts')} restarts in attempt {new['attempt']}")
        for condition in new.get("conditions", ()):
            known = told.get(condition["type"])
            if known is None or known["status"] != condition["status"]:
                continue
            if known["lastTransitionTime"] != condition["lastTransitionTime"]:
                self._say(seen, f"{condition['type']} has moved without a change")

    def _batch_job(self, seen: Seen) -> None:
        if seen.type != "ADDED":
            return
        attempt, uid = attempt_of(seen.object), seen.object["metadata"]["uid"]
        (owner,) = (r["uid"] for r in seen.object["metadata"]["ownerReferences"])
        job = self._job
        if job is None or job["metadata"]["uid"] != owner:
            self._say(seen, f"Job of attempt {attempt} was made for a job that is gone")
            return
        status = job.get("status") or {}
        if status.get("attempt", 0) < attempt:
            self._say(seen, f"Job of attempt {attempt} was made before it was counted")
        if status.get("completionTime"):
            self._say(seen, f"Job of attempt {attempt} was made after the end")
        first = self._made.setdefault((owner, attempt), uid)
        if first not in (uid, *self.removed):
            self._say(seen, f"two Jobs of attempt {attempt}")
        live = [pod for pod in self._pods.values() if is_live(pod)]
        if live:
            names = ", ".join(pod["metadata"]["name"] for pod in live)
            self._say(seen, f"Job of attempt {attempt} was made while {names} ran")

    def _pod(self, seen: Seen) -> None:
        uid = seen.object["metadata"]["uid"]
        if seen.type == "DELETED":
            self._pods.pop(uid, None)
            return
        self._pods[uid] = seen.object
        attempts = {attempt_of(pod) for pod in self._pods.values() if is_live(pod)}
        if len(attempts) > 1:
            self._say(seen, f"pods of attempts {sorted(attempts)} ran at once")


def _difference(old: Json, new: Json) -> str:
    return ", ".join(
        f"{key}: {old.get(key)} → {new.get(key)}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    )


def _in_short(status: Json) -> str:
    true = [c["type"] for c in status.get("conditions", ()) if c["status"] == "True"]
    return f"{status.get('attempt', 0)} {status.get('phase')} {' '.join(true)}".strip()


@dataclass
class Writes:
    """What an operator's run cost in writes. Leases are left out: they come by the clock."""

    needed: Counter[str] = field(default_factory=Counter)
    """Those that took effect, by verb and resource, but for what follows."""
    progress: int = 0
    """Status writes of progress and counts of workers alone, or that say once more what was said
    before: how many is a matter of time."""
    idle: int = 0
    """Status writes that changed nothing."""
    in_vain: int = 0
    """Sent and refused, or not sent on."""
    steps: list[str] = field(default_factory=list)
    """What each status said that was needed, in short."""
    told: Counter[str] = field(default_factory=Counter)
    """Events by reason; they are sent as well as can be, so a fault may lose some."""


def writes_of(exchanges: Iterable[Exchange]) -> Writes:
    """Count what an operator wrote."""
    found = Writes()
    status: dict[str, Json] = {}
    said: set[tuple[Any, ...]] = set()
    for exchange in exchanges:
        request = exchange.request
        if not request.writes or request.resource == "leases":
            continue
        if not exchange.took_effect:
            found.in_vain += 1
            continue
        answer = json.loads(exchange.answer)
        if request.resource == "events":
            found.told[answer["reason"]] += 1
        elif request.subresource == "status":
            uid = answer["metadata"]["uid"]
            old, new = status.get(uid, {}), answer.get("status") or {}
            status[uid] = new
            read = LeptonTrainingJobStatus.read
            # A worker may be seen not to be ready before it is seen to be done, or may not.
            says = (uid, _in_short(new), new.get("observedGeneration"), new.get("memory"))
            if old == new:
                found.idle += 1
            elif says in said or (old and not is_urgent(read(old), read(new))):
                found.progress += 1
            else:
                said.add(says)
                found.needed[str(request)] += 1
                found.steps.append(_in_short(new))
        else:
            found.needed[str(request)] += 1
    return found
