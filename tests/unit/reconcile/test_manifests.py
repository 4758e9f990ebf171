"""The objects of an attempt, as the API server and the programs in the pods find them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from situations import SETTINGS, batch_job, training_job

from lepton.spec.run import RunConfiguration
from lepton_operator.api.validation import parse_spec
from lepton_operator.reconcile import manifests
from lepton_operator.reconcile.settings import NetworkAccess

GOLDEN = Path(__file__).parents[2] / "data" / "reconcile"


def made(attempt=1, **spec):
    """The attempt's Job."""
    job = training_job(**spec)
    return manifests.batch_job(job, parse_spec(job.spec), attempt, SETTINGS)


def others(**spec):
    """The objects beside the Job, by kind."""
    job = training_job(**spec)
    found = manifests.objects(job, parse_spec(job.spec), SETTINGS)
    return {manifest["kind"]: manifest for manifest in found}


def pod_of(manifest):
    return manifest["spec"]["template"]["spec"]


def container_of(manifest):
    (container,) = pod_of(manifest)["containers"]
    return container


def environment_of(manifest):
    """Variables by name; those that refer to the pod with their field."""
    return {
        entry["name"]: entry.get("value")
        or entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        for entry in container_of(manifest)["env"]
    }


PAIR = {
    "environment": {"name": "CartPole-v1"},
    "agent": {"rewardThreshold": 475},
    "workers": 2,
    "resources": {"limits": {"nvidia.com/gpu": 1}},
    "storage": {"size": "1Gi"},
}


def test_the_objects_of_a_job_of_two_workers_are_the_golden_ones():
    found = [*others(**PAIR).values(), made(**PAIR)]
    golden = list(yaml.safe_load_all((GOLDEN / "two-workers.yaml").read_text()))
    assert json.loads(json.dumps(found)) == golden


def test_what_a_job_does_not_need_is_not_made():
    assert others(command=["train"]) == {}
    assert set(others(workers=2)) == {"Service"}
    assert set(others(storage={"size": "1Gi"})) == {"PersistentVolumeClaim"}
    assert others(storage={"claimName": "mine"}) == {}


NETWORK = NetworkAccess("lepton-system", (("team", "watchers"),))


def policy_of(workers):
    """What may come into the workers' pods."""
    job = training_job(workers=workers)
    settings = replace(SETTINGS, network=NETWORK)
    found = manifests.objects(job, parse_spec(job.spec), settings)
    (policy,) = (manifest for manifest in found if manifest["kind"] == "NetworkPolicy")
    assert policy["metadata"]["ownerReferences"][0]["kind"] == "LeptonTrainingJob"
    return policy["spec"]


def test_a_policy_lets_in_whoever_reads_figures_and_nobody_else():
    spec = policy_of(workers=1)
    assert spec["podSelector"]["matchLabels"].items() <= made()["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    port = container_of(made())["ports"][0]["containerPort"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port}]
    operator, metrics = rule["from"]
    namespace = {"kubernetes.io/metadata.name": "lepton-system"}
    assert operator["namespaceSelector"] == {"matchLabels": namespace}
    assert operator["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert metrics == {"namespaceSelector": {"matchLabels": {"team": "watchers"}}}


def test_workers_of_one_job_reach_each_other_on_every_port():
    spec = policy_of(workers=2)
    assert spec["ingress"][0] == {"from": [{"podSelector": spec["podSelector"]}]}
    assert len(spec["ingress"]) == 2


def test_the_pod_meets_the_restricted_standard_and_holds_no_credentials():
    pod, container = pod_of(made()), container_of(made())
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "lepton-tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert environment_of(made())["HOME"] == "/tmp"


def test_leptons_trainer_is_told_its_run_with_every_default():
    job = made(environment={"name": "CartPole-v1"}, agent={"rewardThreshold": 475})
    container = container_of(job)
    assert container["command"] == ["lepton", "worker"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    run = RunConfiguration.model_validate_json(environment_of(job)["LEPTON_RUN"])
    assert run.job == "team/job"
    assert run.environment.name == "CartPole-v1"
    assert run.agent.reward_threshold == 475
    assert run.evaluation.episodes == 32


def test_a_null_hyperparameter_reaches_the_trainer_as_null():
    job = made(environment={}, agent={"hyperparameters": {"targetKl": None}})
    run = json.loads(environment_of(job)["LEPTON_RUN"])
    assert run["agent"]["hyperparameters"] == {"targetKl": None}


def test_a_program_of_ones_own_is_run_as_it_is():
    job = made(image="mine:1", command=["torchrun", "a.py"], args=["-x"], imagePullPolicy="Always")
    container = container_of(job)
    assert (container["image"], container["command"], container["args"]) == (
        "mine:1", ["torchrun", "a.py"], ["-x"],
    )  # fmt: skip
    assert container["imagePullPolicy"] == "Always"
    assert "readinessProbe" not in container
    assert "LEPTON_RUN" not in environment_of(job)


def test_the_trainer_image_is_the_administrators_where_none_is_named():
    assert container_of(made())["image"] == "trainer:1"
    assert container_of(made(image="mine:1"))["image"] == "mine:1"


def test_torchrun_finds_the_first_worker_by_its_name():
    variables = environment_of(made(attempt=3, workers=4))
    assert variables["PET_NNODES"] == "4"
    assert variables["PET_NPROC_PER_NODE"] == "1"
    assert variables["PET_RDZV_BACKEND"] == "static"
    assert variables["PET_RDZV_ENDPOINT"] == "job-3-0.lepton-workers:29500"
    assert variables["MASTER_ADDR"] == "job-3-0.lepton-workers"
    assert variables["WORLD_SIZE"] == "4"
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert variables["RANK"] == variables["PET_NODE_RANK"] == index
    assert pod_of(made(workers=4))["subdomain"] == "lepton-workers"


def test_one_worker_meets_itself_and_needs_no_name():
    assert environment_of(made())["MASTER_ADDR"] == "localhost"
    assert "subdomain" not in pod_of(made())


@pytest.mark.parametrize(
    ("limits", "processes"),
    [
        ({}, 1),
        ({"cpu": "4"}, 1),
        ({"nvidia.com/gpu": 4}, 4),
        ({"nvidia.com/gpu": "8"}, 8),
        ({"nvidia.com/mig-1g.5gb": 2}, 2),
        ({"amd.com/gpu": 2, "memory": "1Gi"}, 2),
        ({"gpu.intel.com/i915": 3}, 3),
        ({"gpu.intel.com/i915": 1, "gpu.intel.com/millicores": 300}, 1),
        ({"nvidia.com/mig-1g.5gb": 2, "nvidia.com/mig-3g.20gb": 1}, 3),
        ({"nvidia.com/gpu.shared": 2}, 2),
        ({"habana.ai/gaudi": 8}, 8),
        ({"google.com/tpu": 4}, 4),
        ({"huawei.com/Ascend910": 8}, 8),
    ],
)
def test_each_gpu_of_a_worker_gets_a_process(limits, processes):
    variables = environment_of(made(workers=2, resources={"limits": limits}))
    assert variables["PET_NPROC_PER_NODE"] == str(processes)
    assert variables["WORLD_SIZE"] == str(2 * processes)
    assert ("RANK" in variables) is (processes == 1)


def test_storage_is_mounted_and_each_job_has_its_folder_there():
    job = made(storage={"claimName": "shared"})
    assert environment_of(job)["LEPTON_STORAGE"] == "/lepton/storage/job-01234567"
    claim = {"name": "lepton-storage", "persistentVolumeClaim": {"claimName": "shared"}}
    assert claim in pod_of(job)["volumes"]
    assert "LEPTON_STORAGE" not in environment_of(made())


def resumed(**spec):
    """The run configuration, volumes and mounts of a job that begins from a checkpoint."""
    job = made(environment={}, **spec)
    run = RunConfiguration.model_validate_json(environment_of(job)["LEPTON_RUN"])
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod_of(job)["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {
        mount["mountPath"]: (claims[mount["name"]], mount.get("readOnly", False))
        for mount in container_of(job)["volumeMounts"]
        if mount["name"] in claims
    }
    return run.resume_from, mounts


def test_a_run_on_the_jobs_own_claim_is_found_beside_its_own():
    own = {"/lepton/storage": ("shared", False)}
    path = "/lepton/storage/other-12345678"
    storage = {"claimName": "shared"}
    found = resumed(storage=storage, checkpoint={"resumeFrom": "other-12345678"})
    assert found == (path, own)
    found = resumed(storage=storage, checkpoint={"resumeFrom": "pvc://shared/other-12345678"})
    assert found == (path, own)


def test_a_run_on_another_claim_is_mounted_to_be_read_only():
    wanted = {"resumeFrom": "pvc://others/run-1/checkpoints"}
    path, other = "/lepton/resume/run-1/checkpoints", {"/lepton/resume": ("others", True)}
    assert resumed(checkpoint=wanted) == (path, other)
    own = {"/lepton/storage": ("job", False)}
    assert resumed(checkpoint=wanted, storage={"size": "1Gi"}) == (path, {**own, **other})


def test_a_run_that_begins_from_nothing_is_not_told_of_it():
    assert resumed() == (None, {})
    assert "resumeFrom" not in environment_of(made())["LEPTON_RUN"]


def test_workers_of_a_claim_for_one_node_are_placed_together():
    assert "affinity" not in pod_of(made(workers=2))
    assert "affinity" not in pod_of(made(workers=1, storage={"size": "1Gi"}))
    shared = {"size": "1Gi", "accessMode": "ReadWriteMany"}
    assert "affinity" not in pod_of(made(workers=2, storage=shared))
    mine = {"nodeAffinity": {"x": 1}, "podAffinity": {"preferredDuringScheduling": []}}
    affinity = pod_of(made(workers=2, storage={"size": "1Gi"}, template={"affinity": mine}))[
        "affinity"
    ]
    assert affinity["nodeAffinity"] == {"x": 1}
    (term,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"


def test_shared_memory_is_a_memory_of_its_size():
    job = made(sharedMemory="2Gi")
    volume = {"name": "lepton-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}
    assert volume in pod_of(job)["volumes"]
    mount = {"name": "lepton-shm", "mountPath": "/dev/shm"}
    assert mount in container_of(job)["volumeMounts"]
    assert "/dev/shm" not in [m["mountPath"] for m in container_of(made())["volumeMounts"]]


def test_a_priority_class_is_the_pods():
    assert pod_of(made(scheduling={"priorityClassName": "high"}))["priorityClassName"] == "high"
    assert "priorityClassName" not in pod_of(made())


def affinity_of(**spec):
    return pod_of(made(**spec)).get("affinity")


REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def test_regions_and_zones_are_required_of_every_node_that_the_user_would_take():
    expressions = [
        {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["a", "b"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a-1"]},
    ]
    scheduling = {"regions": ["a", "b"], "zones": ["a-1"]}
    terms = [{"matchExpressions": expressions}]
    assert affinity_of(scheduling=scheduling) == {
        "nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}
    }
    gpu, cpu = ({"key": "pool", "operator": "In", "values": [pool]} for pool in ("gpu", "cpu"))
    mine = {
        "nodeAffinity": {
            REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [p]} for p in (gpu, cpu)]},
            PREFERRED: ["kept"],
        }
    }
    found = affinity_of(scheduling=scheduling, template={"affinity": mine})["nodeAffinity"]
    assert found[PREFERRED] == ["kept"]
    assert found[REQUIRED]["nodeSelectorTerms"] == [
        {"matchExpressions": [gpu, *expressions]},
        {"matchExpressions": [cpu, *expressions]},
    ]


LABELS = {
    "app.kubernetes.io/name": "lepton-training",
    "app.kubernetes.io/managed-by": "lepton-operator",
    "training.lepton.ai/job-name": "job",
    "training.lepton.ai/attempt": "1",
}
CLIQUE = {"labelSelector": {"matchLabels": LABELS}, "topologyKey": "nvidia.com/gpu.clique"}


def test_a_segment_of_all_workers_has_to_share_a_domain():
    job = made(workers=4, scheduling={"segmentSize": 4})
    assert pod_of(job)["affinity"] == {"podAffinity": {REQUIRED: [CLIQUE]}}
    assert "topologySpreadConstraints" not in pod_of(job)


def test_smaller_segments_fill_one_domain_after_the_other():
    job = made(workers=4, scheduling={"segmentSize": 2})
    preferred = [{"weight": 100, "podAffinityTerm": CLIQUE}]
    assert pod_of(job)["affinity"] == {"podAffinity": {PREFERRED: preferred}}
    assert pod_of(job)["topologySpreadConstraints"] == [
        {
            **CLIQUE,
            "maxSkew": 2,
            "whenUnsatisfiable": "DoNotSchedule",
            "nodeTaintsPolicy": "Honor",
        }
    ]


def test_the_label_of_domains_is_the_administrators():
    spec = {"workers": 2, "scheduling": {"segmentSize": 2}}
    job = training_job(**spec)
    settings = replace(SETTINGS, interconnect_label="example.com/rack")
    batch = manifests.batch_job(job, parse_spec(job.spec), 1, settings)
    (term,) = pod_of(batch)["affinity"]["podAffinity"][REQUIRED]
    assert term["topologyKey"] == "example.com/rack"


def test_pod_fields_pass_through_beside_the_operators():
    token = {"path": "token", "audience": "sts.example.com", "expirationSeconds": 3600}
    sources = [{"serviceAccountToken": token}, {"configMap": {"name": "settings"}}]
    identity = {"name": "identity", "projected": {"defaultMode": 288, "sources": sources}}
    template = {
        "labels": {"team": "a"},
        "annotations": {"note": "b"},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": "data", "emptyDir": {}}, identity],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trainer",
    }
    job = made(template=template, imagePullSecrets=[{"name": "registry"}])
    metadata, pod = job["spec"]["template"]["metadata"], pod_of(job)
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"]["training.lepton.ai/job-name"] == "job"
    assert metadata["annotations"] == {"note": "b"}
    for field in ("nodeSelector", "tolerations", "runtimeClassName", "serviceAccountName"):
        assert pod[field] == template[field]
    assert pod["volumes"][:2] == template["volumes"]
    assert template["volumeMounts"][0] in container_of(job)["volumeMounts"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def test_a_users_own_temporary_folder_and_variables_go_before_ours():
    job = made(
        env=[{"name": "HOME", "value": "/data"}, {"name": "A", "valueFrom": {"b": {}}}],
        template={
            "volumes": [{"name": "t", "emptyDir": {"medium": "Memory"}}],
            "volumeMounts": [{"name": "t", "mountPath": "/tmp"}],
        },
    )
    found = [entry["name"] for entry in container_of(job)["env"]]
    assert len(found) == len(set(found))
    assert environment_of(job)["HOME"] == "/data"
    assert {"name": "A", "valueFrom": {"b": {}}} in container_of(job)["env"]
    assert [m["mountPath"] for m in container_of(job)["volumeMounts"]] == ["/tmp"]


def test_the_digest_tells_manifests_apart_and_not_the_order_of_keys():
    assert manifests.digest({"a": 1, "b": [1, 2]}) == manifests.digest({"b": [1, 2], "a": 1})
    assert manifests.digest({"a": 1}) != manifests.digest({"a": "1"})


def test_suspending_touches_one_field_of_the_very_job_that_was_seen():
    assert manifests.suspension(batch_job(), True) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": "team", "name": "job-1", "uid": "job-uid-1"},
        "spec": {"suspend": True},
    }
