"""Who reaches a job's workers: each other, and whoever reads their figures. Nobody else."""

from typing import Any

from lepton_operator.api import names
from lepton_operator.api.job import TrainingJob
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.reconcile.settings import NetworkAccess

Json = dict[str, Any]

OPERATOR_PODS = {"app.kubernetes.io/part-of": "lepton", "app.kubernetes.io/component": "operator"}
"""Labels that the chart gives the operator's pods, whatever the release is called."""


def policy_spec(
    job: TrainingJob, spec: LeptonTrainingJobSpec, access: NetworkAccess, port: int
) -> Json:
    """The spec of the job's NetworkPolicy. What leaves the pods is left to the namespace's own
    policies; kubelets reach pods of their nodes in any case.

    https://kubernetes.io/docs/concepts/services-networking/network-policies/
    """
    workers = {"podSelector": {"matchLabels": {names.LABEL_JOB_NAME: job.name}}}
    readers: list[Json] = [
        {
            "namespaceSelector": _labelled({names.LABEL_NAMESPACE: access.operator_namespace}),
            "podSelector": _labelled(OPERATOR_PODS),
        }
    ]
    if access.metrics_namespaces:
        readers.append({"namespaceSelector": _labelled(dict(access.metrics_namespaces))})
    ingress: list[Json] = [{"from": readers, "ports": [{"protocol": "TCP", "port": port}]}]
    if spec.workers > 1:
        ingress.insert(0, {"from": [workers]})
    return {**workers, "policyTypes": ["Ingress"], "ingress": ingress}


def _labelled(labels: dict[str, str]) -> Json:
    return {"matchLabels": labels}
