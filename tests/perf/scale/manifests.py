"""Jobs of pods that run on nodes that kwok plays: as plain Jobs, and as LeptonTrainingJobs."""

from typing import Any

from lepton_cluster.addons import RUN_FOR

Json = dict[str, Any]
IMAGE = "localhost/bench:1"
TOLERATION = {"key": "kwok.x-k8s.io/node", "operator": "Exists"}


def plain_job(namespace: str, name: str, workers: int, run_for: str) -> Json:
    """The floor: what a script that creates Jobs would create."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {RUN_FOR: run_for}},
                "spec": {
                    "restartPolicy": "Never",
                    "nodeSelector": {"type": "kwok"},
                    "tolerations": [TOLERATION],
                    "containers": [{"name": "trainer", "image": IMAGE, "command": ["train"]}],
                },
            },
        },
    }


def training_job(namespace: str, name: str, workers: int, run_for: str, **spec: Any) -> Json:
    """The same as a LeptonTrainingJob. The floor starts pods one by one, and so does this one
    unless `spec` says otherwise."""
    return {
        "apiVersion": "training.lepton.ai/v1alpha1",
        "kind": "LeptonTrainingJob",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "image": IMAGE,
            "command": ["train"],
            "workers": workers,
            "scheduling": {"gang": "None"},
            "template": {
                "annotations": {RUN_FOR: run_for},
                "nodeSelector": {"type": "kwok"},
                "tolerations": [TOLERATION],
            },
            **spec,
        },
    }
