"""The CustomResourceDefinition of LeptonTrainingJob, made of the models."""

from typing import Any

from lepton.spec.base import RULES, rule
from lepton_operator.api import names
from lepton_operator.api.schema import structural_schema
from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.api.status import LeptonTrainingJobStatus

CHANGEABLE_AFTER_START = frozenset({"suspend", "failurePolicy", "ttlSecondsAfterFinished"})


def started() -> str:
    """CEL: an attempt has been counted."""
    return "has(oldSelf.status) && has(oldSelf.status.attempt) && oldSelf.status.attempt > 0"


def unchanged(field: str) -> str:
    """CEL: the field of spec is what it was."""
    return (
        f"(has(self.spec.{field}) ? has(oldSelf.spec.{field})"
        f" && self.spec.{field} == oldSelf.spec.{field} : !has(oldSelf.spec.{field}))"
    )


def immutability_rule(fields: list[str]) -> dict[str, Any]:
    """For the root of the object, which alone sees both spec and status: the given fields of spec
    stay as they are once the job has started.

    One rule for all of them, because each is evaluated with every write of a status, too, where
    nothing of spec changes: a rule for each field doubled what such a write costs the API server.
    """
    advice = "can't change once the job has started; delete the job and create it again, or create"
    told = rule(
        f"!({started()}) || self.spec == oldSelf.spec || ("
        + " && ".join(unchanged(field) for field in fields)
        + ")",
        f"what is trained, and how, {advice} another one",
        field="spec",
    )
    first = "".join(f"!{unchanged(field)} ? 'spec.{field}' : " for field in fields[:-1])
    quoted = advice.replace("'", "\\'")
    told["messageExpression"] = f"({first}'spec.{fields[-1]}') + ' {quoted} another one'"
    return told


def managed_by_rule() -> dict[str, Any]:
    """Whoever looks after a job does so from beginning to end, as with Kubernetes' own Jobs."""
    return rule(
        "has(self.spec.managedBy) ? has(oldSelf.spec.managedBy)"
        " && self.spec.managedBy == oldSelf.spec.managedBy : !has(oldSelf.spec.managedBy)",
        "managedBy can't change; delete the job and create it again",
        field="spec.managedBy",
    )


def workers_rule() -> dict[str, Any]:
    """Workers change while none run, or where the job is made for it."""
    return rule(
        f"!({started()}) || self.spec.workers == oldSelf.spec.workers || has(self.spec.elastic)"
        " || (has(oldSelf.spec.suspend) && oldSelf.spec.suspend)",
        "workers can't change while the job runs: suspend it first, or create it with elastic",
        field="spec.workers",
    )


def name_rule() -> dict[str, Any]:
    """The name becomes part of host names, so it is shorter and plainer than other names."""
    return {
        "rule": f"size(self.metadata.name) <= {names.MAX_NAME_LENGTH}"
        f" && self.metadata.name.matches('{names.NAME_PATTERN}')",
        "message": names.NAME_MESSAGE,
    }


def columns() -> list[dict[str, Any]]:
    """What `kubectl get` shows; those of priority 1 only with -o wide."""

    def column(name: str, path: str, description: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "jsonPath": path, "type": "string", "description": description} | more

    return [
        column("Phase", ".status.phase", "Where the job stands."),
        column("Progress", ".status.progress.summary", "Share of the work that is done."),
        column("Reward", ".status.reward", "Mean reward of an episode, as last measured."),
        column("Workers", ".status.workers.summary", "Ready or succeeded workers of all."),
        column("Restarts", ".status.restarts", "Restarts so far.", type="integer"),
        column("ETA", ".status.progress.remaining", "Estimated time to the end."),
        column("Age", ".metadata.creationTimestamp", "Since when the job exists.", type="date"),
        column(
            "Trend", ".status.progress.trend", "How the leading metric moved lately.", priority=1
        ),
        column("Algorithm", ".spec.agent.algorithm", "What learns.", priority=1),
        column("Queue", ".spec.scheduling.queue", "Queue that the job waits in.", priority=1),
        column("Reason", ".status.reason", "Why the job is in its phase.", priority=1),
    ]


def object_schema() -> dict[str, Any]:
    """The schema of the whole object."""
    spec = structural_schema(LeptonTrainingJobSpec, defaults=True)
    others = {*CHANGEABLE_AFTER_START, *unsupported_fields(spec), "managedBy", "workers"}
    frozen = sorted(spec["properties"].keys() - others)
    return {
        "description": "A training job: an environment, an agent and how it is trained, or a"
        " program of your own; run by worker pods, watched, restarted when it fails, evaluated.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "description": "Version of the schema of this object: training.lepton.ai/v1alpha1.",
                "type": "string",
                "maxLength": 64,
            },
            "kind": {
                "description": "Kind of this object: LeptonTrainingJob.",
                "type": "string",
                "maxLength": 64,
            },
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural_schema(LeptonTrainingJobStatus, defaults=False),
        },
        RULES: [name_rule(), managed_by_rule(), workers_rule(), immutability_rule(frozen)],
    }


def unsupported_fields(spec: dict[str, Any]) -> set[str]:
    """Fields that are refused altogether, so that they need no rule about change."""
    return {
        field
        for field in spec["properties"]
        if any(told["rule"] == f"!has(self.{field})" for told in spec[RULES])
    }


def custom_resource_definition() -> dict[str, Any]:
    """The CustomResourceDefinition as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.workers",
                            "statusReplicasPath": ".status.workers.active",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": columns(),
                    "schema": {"openAPIV3Schema": object_schema()},
                }
            ],
        },
    }
