"""One training job of a scene, whose workers are puppets: what users and programs do to it."""

import asyncio
from typing import Any

from campaign.oracle import INDEX, attempt_of
from campaign.puppet import COMMAND
from campaign.recorder import PATHS, Json
from campaign.scene import PATIENCE, Scene
from lepton.spec.run import PROGRESS_PORT
from lepton_operator.api import names
from lepton_operator.engine.client import ApiError

QUICK = {"maxRestarts": 2, "backoffSeconds": 1}


class Stage:
    """The job `name` of a scene."""

    def __init__(self, scene: Scene, name: str = "job") -> None:
        self.scene = scene
        self.name = name
        self.removed: set[str] = set()
        """UIDs of batch Jobs that the life has deleted."""
        self._collection = PATHS["leptontrainingjobs"].format(scene.namespace)
        self._path = f"{self._collection}/{name}"

    # What users do

    async def apply(self, **spec: Any) -> None:
        """Make the job, of one puppet unless something else is said."""
        wanted = {"command": COMMAND, "failurePolicy": QUICK, **spec}
        await self.scene.api.post(
            self._collection,
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": self.name},
                "spec": wanted,
            },
        )

    async def change(self, **spec: Any) -> None:
        """Change fields of its spec."""
        await self.scene.api.patch(self._path, {"spec": spec})

    async def delete(self) -> None:
        """Delete it."""
        await self.scene.api.delete(self._path)

    async def delete_pod(self, rank: int) -> None:
        """Delete a worker."""
        await self._delete("pods", self.pod(rank))

    async def delete_batch_job(self) -> None:
        """Delete the batch Job of the current attempt."""
        (batch,) = (j for j in self.children("jobs") if attempt_of(j) == self.attempt)
        self.removed.add(batch["metadata"]["uid"])
        await self._delete("jobs", batch)

    async def _delete(self, resource: str, there: Json) -> None:
        path = f"{PATHS[resource].format(self.scene.namespace)}/{there['metadata']['name']}"
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        await self.scene.api.delete(path, options)

    # What is there

    @property
    def status(self) -> Json:
        """The job's status."""
        job = self.scene.recorder.get("leptontrainingjobs", self.name)
        return (job or {}).get("status") or {}

    @property
    def attempt(self) -> int:
        """Its current attempt."""
        attempt: int = self.status.get("attempt", 0)
        return attempt

    def true(self, condition: str) -> bool:
        """Whether a condition is true."""
        told = self.status.get("conditions", ())
        return any(c["type"] == condition and c["status"] == "True" for c in told)

    def children(self, resource: str) -> list[Json]:
        """Its Jobs or pods."""
        return [
            child
            for child in self.scene.recorder.now(resource)
            if (child["metadata"].get("labels") or {}).get(names.LABEL_JOB_NAME) == self.name
        ]

    def running(self, attempt: int | None = None) -> list[Json]:
        """Its running pods, of one attempt or of any."""
        return [
            pod
            for pod in self.children("pods")
            if pod["status"].get("phase") == "Running"
            and "deletionTimestamp" not in pod["metadata"]
            and (attempt is None or attempt_of(pod) == attempt)
        ]

    def pod(self, rank: int) -> Json:
        """The running worker of a rank."""
        found = [p for p in self.running() if p["metadata"]["annotations"][INDEX] == str(rank)]
        assert len(found) == 1, f"{len(found)} pods of rank {rank} run"
        return found[0]

    # What is waited for

    async def runs(self, attempt: int = 1, workers: int = 1) -> None:
        """Wait until so many workers run and the status says so."""

        def look() -> bool:
            return (
                len(self.running(attempt)) == workers
                and self.attempt == attempt
                and self.status.get("phase") == "Running"
            )

        await self.scene.until(f"attempt {attempt} of {workers} runs", look)

    async def trains(self, attempt: int = 1, workers: int = 1) -> None:
        """Wait until so many workers run, and have the first one report a step."""
        await self.runs(attempt, workers)
        await self.say(40 + attempt, loss=0.5)

    async def reaches(self, phase: str) -> None:
        """Wait for a phase."""
        await self.scene.until(f"is {phase}", lambda: self.status.get("phase") == phase)

    async def finishes(self) -> None:
        """Wait for its end."""
        await self.scene.until("finishes", lambda: self.true("Finished"))

    # What its programs do

    async def say(self, step: int, total: int = 100, **metrics: float) -> None:
        """The first worker reports, and the status shows it."""
        said = {"step": step, "totalSteps": total, "metrics": metrics}
        await self.tell(self.pod(0), {"say": said})
        await self.scene.until(
            f"shows step {step}",
            lambda: (self.status.get("progress") or {}).get("step") == step,
        )

    async def end(self, rank: int, code: int = 0, word: Json | None = None) -> None:
        """A worker's program exits, with a last word if any."""
        told: Json = {"end": code}
        if word is not None:
            told["word"] = word
        await self.tell(self.pod(rank), told)

    async def end_well(self, workers: int = 1) -> None:
        """All workers end well; the first one says what came of it."""
        said = {"step": 100, "totalSteps": 100, "metrics": {"loss": 0.25}}
        for rank in reversed(range(workers)):
            await self.end(rank, 0, {"progress": said} if rank == 0 else None)
        await self.finishes()

    async def tell(self, pod: Json, order: Json) -> None:
        """By the API server's proxy; again until the program listens."""
        name = pod["metadata"]["name"]
        path = f"/api/v1/namespaces/{self.scene.namespace}/pods/{name}:{PROGRESS_PORT}/proxy/"
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            try:
                await self.scene.api.post(path, order)
                return
            except ApiError:
                there = self.scene.recorder.get("pods", name)
                if there is None or there["status"]["phase"] != "Running":
                    return  # It has done so, and could not say it any more.
                assert asyncio.get_running_loop().time() < deadline, f"{name} does not listen"
                await asyncio.sleep(0.2)
