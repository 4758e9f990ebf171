"""The chart: what it grants, how its pods are confined, which values it refuses."""

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from lepton_operator.api.spec import LeptonTrainingJobSpec
from lepton_operator.app import main as operator_main
from lepton_operator.app import options
from lepton_operator.reconcile.network import OPERATOR_PODS
from lepton_operator.reconcile.settings import NetworkAccess

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts" / "lepton-operator"
CRD = "leptontrainingjobs.training.lepton.ai"
GOLDEN = REPOSITORY / "tests" / "chart" / "golden" / "default.yaml"
SERVICE_MONITORS = "--api-versions=monitoring.coreos.com/v1/ServiceMonitor"

Helm = Callable[..., "subprocess.CompletedProcess[str]"]
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """helm, as the embedded cluster brings it, or else as installed."""
    own = REPOSITORY / ".cluster" / "bin" / "helm"
    program = str(own) if own.exists() else shutil.which("helm")
    if program is None:
        pytest.fail("helm is missing: `make cluster-up` builds it, or install it", pytrace=False)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *arguments], text=True, capture_output=True, check=False, timeout=60
        )

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Objects of `helm template`, with values as in `--set` and further options."""

    def run(*options: str, release: str = "lepton-operator", **sets: str) -> list[dict[str, Any]]:
        given = [f"--set={name.replace('__', '.')}={value}" for name, value in sets.items()]
        done = helm("template", release, str(CHART), "-n", "lepton-system", *given, *options)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run


def only(objects: list[dict[str, Any]], kind: str, name: str | None = None) -> dict[str, Any]:
    found = [
        item
        for item in objects
        if item["kind"] == kind and name in (None, item["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} objects of kind {kind}"
    return found[0]


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {item["kind"] for item in objects}


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        rule
        for item in objects
        if item["kind"] in ("ClusterRole", "Role")
        for rule in item["rules"]
    ]


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def test_helm_lint_has_nothing_to_say(helm: Helm) -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_default_rendering_is_the_golden_one(render: Render) -> None:
    """UPDATE_GOLDEN=1 pytest tests/chart accepts a change."""
    rendered = yaml.safe_dump_all(
        [item for item in render() if item["kind"] != "CustomResourceDefinition"], sort_keys=True
    )
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(rendered)
    assert rendered == GOLDEN.read_text()


# --- rights


@pytest.mark.parametrize("field", ["apiGroups", "resources", "verbs"])
def test_no_role_has_a_wildcard(render: Render, field: str) -> None:
    assert all("*" not in rule[field] for rule in rules(render()))


@pytest.mark.parametrize(
    "resource",
    [
        "secrets", "configmaps", "namespaces", "serviceaccounts", "serviceaccounts/token",
        "pods/exec", "pods/attach", "pods/proxy", "pods/portforward", "pods/ephemeralcontainers",
        "services/proxy", "nodes/proxy", "roles", "clusterroles", "rolebindings",
        "clusterrolebindings", "customresourcedefinitions",
    ],
)  # fmt: skip
def test_no_role_reaches(render: Render, resource: str) -> None:
    assert all(resource not in rule["resources"] for rule in rules(render()))


def test_nodes_limits_and_kueues_workloads_are_only_read_and_not_watched(render: Render) -> None:
    seen = {
        resource: rule["verbs"]
        for rule in rules(render())
        for resource in rule["resources"]
        if resource in ("nodes", "limitranges", "resourcequotas", "workloads")
    }
    assert seen == {
        "nodes": ["get", "list"],
        "limitranges": ["list"],
        "resourcequotas": ["list"],
        "workloads": ["list"],
    }


def test_the_operator_changes_only_what_it_owns(render: Render) -> None:
    role = only(render(), "ClusterRole", "lepton-system:lepton-operator")
    changes = {
        f"{group}/{resource}": set(rule["verbs"]) - {"get", "list", "watch"}
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert {name: verbs for name, verbs in changes.items() if verbs} == {
        "training.lepton.ai/leptontrainingjobs": {"delete"},
        "training.lepton.ai/leptontrainingjobs/status": {"update", "patch"},
        "training.lepton.ai/leptontrainingjobs/finalizers": {"update"},
        "batch/jobs": {"create", "patch", "delete"},
        "/services": {"create", "patch", "delete"},
        "discovery.k8s.io/endpointslices": {"create", "patch", "delete"},
        "/persistentvolumeclaims": {"create", "delete"},
        "networking.k8s.io/networkpolicies": {"create", "patch"},
        "scheduling.k8s.io/podgroups": {"create", "delete"},
        "scheduling.x-k8s.io/podgroups": {"create", "delete"},
        "scheduling.volcano.sh/podgroups": {"create", "delete"},
        "events.k8s.io/events": {"create", "patch"},
    }


def test_the_lease_is_the_only_one_that_may_be_changed(render: Render) -> None:
    objects = render()
    role = only(objects, "Role")
    for rule in role["rules"]:
        assert rule["resources"] == ["leases"]
        if set(rule["verbs"]) != {"create"}:
            assert rule["resourceNames"] == ["lepton-operator"]
    assert "--lease-name=lepton-operator" in pod(objects)["containers"][0]["args"]


def test_roles_are_bound_to_the_account_of_the_pods(render: Render) -> None:
    objects = render(serviceAccount__name="chosen")
    assert pod(objects)["serviceAccountName"] == "chosen"
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        assert only(objects, kind)["subjects"] == [
            {"kind": "ServiceAccount", "name": "chosen", "namespace": "lepton-system"}
        ]


def test_users_get_jobs_with_the_roles_view_and_edit(render: Render) -> None:
    view = only(render(), "ClusterRole", "lepton-system:lepton-operator:view")
    edit = only(render(), "ClusterRole", "lepton-system:lepton-operator:edit")
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert view["metadata"]["labels"][f"{prefix}view"] == "true"
    assert f"{prefix}view" not in edit["metadata"]["labels"]
    assert edit["metadata"]["labels"][f"{prefix}edit"] == "true"
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert all("leptontrainingjobs/status" not in rule["resources"] for rule in edit["rules"])


def test_rights_can_be_left_to_the_cluster(render: Render) -> None:
    objects = render(rbac__create="false", rbac__aggregate="false", serviceAccount__create="false")
    assert not {kind for kind in kinds(objects) if "Role" in kind or kind == "ServiceAccount"}
    assert pod(objects)["serviceAccountName"] == "default"


# --- pods


def test_pods_meet_the_restricted_standard_and_write_only_to_tmp(render: Render) -> None:
    spec = pod(render())
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert [container["securityContext"] for container in spec["containers"]] == [
        {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    ]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert [list(volume) for volume in spec["volumes"]] == [["name", "emptyDir"]]
    assert spec["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_requests_and_a_memory_limit_are_set(render: Render) -> None:
    assert pod(render())["containers"][0]["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi"},
        "limits": {"memory": "256Mi"},
    }


def test_the_command_line_is_one_that_the_operator_accepts(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[options.Options] = []

    def remember(given: options.Options) -> int:
        chosen.append(given)
        return 0

    monkeypatch.setattr(operator_main, "_run", remember)
    container = pod(
        render(
            "--set=extraArgs={--lease-name=chosen}",
            "--set-json=performance.writeRate=12.5",
            trainer__image="registry.example/trainer:1",
            jobs__maxInterruptions="7",
            jobs__interconnectLabel="example.com/rack",
            jobs__finishedPodsSeconds="0",
            jobs__networkPolicies__metricsNamespaceLabels__team="watchers",
            performance__progressSeconds="30",
            performance__auditSeconds="600",
            performance__workers="4",
        )
    )["containers"][0]
    arguments = [argument.replace("$(POD_NAMESPACE)", "here") for argument in container["args"]]
    assert operator_main.main(arguments) == 0
    settings = chosen[0].settings
    assert settings.trainer_image == "registry.example/trainer:1"
    assert settings.max_interruptions == 7
    assert settings.interconnect_label == "example.com/rack"
    assert settings.network == NetworkAccess(
        "here", (("kubernetes.io/metadata.name", "monitoring"), ("team", "watchers"))
    )
    assert settings.finished_pods_kept == timedelta(0)
    assert chosen[0].lease_namespace == "here"
    assert chosen[0].port == container["ports"][0]["containerPort"]
    assert chosen[0].lease_name == "chosen"
    assert chosen[0].write_rate == 12.5
    assert chosen[0].progress_seconds == 30
    assert chosen[0].audit_seconds == 600
    assert chosen[0].workers == 4


def test_every_option_but_the_namespace_is_the_charts_to_set(render: Render) -> None:
    """One release serves all namespaces."""
    parser = argparse.ArgumentParser(add_help=False)
    options.add_arguments(parser)
    known = set(re.findall(r"--[a-z-]+", parser.format_usage())) - {"--no-network-policies"}
    objects = render("--set-json=jobs.resourceShapes.small={}", jobs__finishedPodsSeconds="0")
    arguments = pod(objects)["containers"][0]["args"]
    assert known - {argument.partition("=")[0] for argument in arguments} == {"--namespace"}


def test_the_defaults_of_the_chart_are_the_operators(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    given = vars(parser.parse_args(pod(render())["containers"][0]["args"][1:]))
    default = vars(parser.parse_args(["--trainer-image=localhost/lepton/trainer:0.1.0"]))
    assert {name for name in given if given[name] != default[name]} == {
        "lease_namespace", "log_format", "metrics_namespaces", "network_policies",
    }  # fmt: skip


def test_large_whole_numbers_of_a_file_of_values_stay_whole(render: Render, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("jobs: {finishedPodsSeconds: 2592000, maxInterruptions: 1000000}")
    arguments = pod(render(f"--values={file}"))["containers"][0]["args"]
    assert {"--finished-pods-seconds=2592000", "--max-interruptions=1000000"} <= set(arguments)


def test_pods_of_finished_jobs_stay_unless_told_otherwise(render: Render) -> None:
    arguments = pod(render())["containers"][0]["args"]
    assert not any("finished-pods" in argument for argument in arguments)
    assert "--max-interruptions=100" in arguments
    assert "--interconnect-label=nvidia.com/gpu.clique" in arguments


def test_shapes_are_mounted_as_a_file_that_the_operator_reads(
    render: Render, tmp_path: Path
) -> None:
    shape = (
        '{"resources":{"limits":{"nvidia.com/mig-1g.5gb":2}},"nodeSelector":{"pool":"gpu"},'
        '"tolerations":[{"key":"gpu","operator":"Exists"}]}'
    )
    assert "ConfigMap" not in kinds(render())
    objects = render(f"--set-json=jobs.resourceShapes.small={shape}")
    (text,) = only(objects, "ConfigMap")["data"].values()
    file = tmp_path / "shapes.yaml"
    file.write_text(text)
    small = options.shapes_of(str(file))["small"]
    assert small.resources.limits == {"nvidia.com/mig-1g.5gb": 2}
    assert small.node_selector == {"pool": "gpu"}
    assert small.tolerations == [{"key": "gpu", "operator": "Exists"}]
    container = pod(objects)["containers"][0]
    assert "--resource-shapes=/etc/lepton/resource-shapes.yaml" in container["args"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["configuration"] == "/etc/lepton"
    (source,) = (v["configMap"] for v in pod(objects)["volumes"] if v["name"] == "configuration")
    assert source["name"] == only(objects, "ConfigMap")["metadata"]["name"]


def test_a_change_of_shapes_starts_the_operator_anew(render: Render) -> None:
    def annotations(cpu: str) -> dict[str, str]:
        objects = render(f"--set=jobs.resourceShapes.small.resources.limits.cpu={cpu}")
        found: dict[str, str] = only(objects, "Deployment")["spec"]["template"]["metadata"][
            "annotations"
        ]
        return found

    assert annotations("1") == annotations("1") != annotations("2")


def test_policies_of_jobs_can_be_switched_off(render: Render) -> None:
    arguments = pod(render(jobs__networkPolicies__enabled="false"))["containers"][0]["args"]
    assert "--no-network-policies" in arguments
    assert not any("metrics-namespaces" in argument for argument in arguments)


def test_policies_of_jobs_let_in_pods_with_labels_that_the_operators_have(render: Render) -> None:
    metadata = only(render(nameOverride="other"), "Deployment")["spec"]["template"]["metadata"]
    assert OPERATOR_PODS.items() <= metadata["labels"].items()


def test_a_replica_knows_its_pod_and_namespace(render: Render) -> None:
    variables = pod(render())["containers"][0]["env"]
    assert {item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"] for item in variables} == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
    }


def test_probes_and_metrics_reach_the_container(render: Render) -> None:
    objects = render()
    container = pod(objects)["containers"][0]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    service = only(objects, "Service")["spec"]
    labels = only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert service["ports"][0]["targetPort"] == container["ports"][0]["name"]


@pytest.mark.parametrize(("replicas", "expected"), [("1", False), ("2", True), ("3", True)])
def test_a_drain_leaves_one_of_several_replicas(
    render: Render, replicas: str, expected: bool
) -> None:
    objects = render(replicas=replicas)
    assert ("PodDisruptionBudget" in kinds(objects)) is expected
    if expected:
        assert only(objects, "PodDisruptionBudget")["spec"]["minAvailable"] == 1


def test_replicas_prefer_different_nodes_unless_told_otherwise(render: Render) -> None:
    preferred = pod(render())["affinity"]["podAntiAffinity"]
    assert list(preferred) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert pod(render('--set-json=affinity={"nodeAffinity":{}}'))["affinity"] == {
        "nodeAffinity": {}
    }


def test_a_digest_has_precedence_over_a_tag(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    assert pod(render())["containers"][0]["image"] == "localhost/lepton/operator:0.1.0"
    container = pod(render(image__repository="r.example/op", image__tag="dev"))["containers"][0]
    assert container["image"] == "r.example/op:dev"
    container = pod(render(image__tag="dev", image__digest=digest))["containers"][0]
    assert container["image"] == f"localhost/lepton/operator@{digest}"


def test_what_a_cluster_asks_of_pods_can_be_given(render: Render) -> None:
    objects = render(
        '--set-json=tolerations=[{"operator":"Exists"}]',
        '--set-json=extraEnv=[{"name":"A","value":"b"}]',
        '--set-json=imagePullSecrets=[{"name":"key"}]',
        priorityClassName="high",
        nodeSelector__disk="ssd",
        podAnnotations__note="yes",
        podLabels__team="x",
    )
    spec = pod(objects)
    metadata = only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["imagePullSecrets"] == [{"name": "key"}]
    assert spec["priorityClassName"] == "high"
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["containers"][0]["env"][-1] == {"name": "A", "value": "b"}
    assert metadata["annotations"]["note"] == "yes"
    assert metadata["labels"]["team"] == "x"


def test_names_follow_the_release(render: Render) -> None:
    assert only(render(release="mine"), "Deployment")["metadata"]["name"] == "mine-lepton-operator"
    assert only(render(fullnameOverride="op"), "Deployment")["metadata"]["name"] == "op"
    assert all(
        item["metadata"].get("namespace", "lepton-system") == "lepton-system" for item in render()
    )


# --- monitors


@pytest.mark.parametrize("options", [[], [SERVICE_MONITORS]])
def test_no_monitor_unless_asked_for(render: Render, options: list[str]) -> None:
    assert "ServiceMonitor" not in kinds(render(*options))


def test_a_monitor_skips_itself_where_its_definition_is_absent(render: Render) -> None:
    assert "ServiceMonitor" not in kinds(render(serviceMonitor__enabled="true"))


def test_a_monitor_selects_the_service(render: Render) -> None:
    objects = render(SERVICE_MONITORS, serviceMonitor__enabled="true")
    selector = only(objects, "ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= only(objects, "Service")["metadata"]["labels"].items()


# --- the CustomResourceDefinition


def test_the_definition_is_the_repositorys_own() -> None:
    """If not: python3 charts sync."""
    source = REPOSITORY / "crds" / "training.lepton.ai_leptontrainingjobs.yaml"
    copy = CHART / "files" / "leptontrainingjobs.yaml"
    assert copy.read_text() == source.read_text()


def test_the_definition_is_rendered_unchanged_and_kept(render: Render) -> None:
    rendered = only(render(), "CustomResourceDefinition", CRD)
    source = yaml.safe_load((CHART / "files" / "leptontrainingjobs.yaml").read_text())
    assert rendered["spec"] == source["spec"]
    assert rendered["metadata"]["annotations"] == {
        **source["metadata"].get("annotations", {}),
        "helm.sh/resource-policy": "keep",
    }


def test_the_definition_can_be_left_to_others(render: Render) -> None:
    assert "CustomResourceDefinition" not in kinds(render(crds__install="false"))


def test_nothing_else_is_kept(render: Render) -> None:
    kept = [
        item["kind"]
        for item in render()
        if "helm.sh/resource-policy" in item["metadata"].get("annotations", {})
    ]
    assert kept == ["CustomResourceDefinition"]


def test_the_job_in_the_notes_is_valid(helm: Helm) -> None:
    done = helm("install", "lepton-operator", str(CHART), "--dry-run=client")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.rpartition("NOTES:")[2]
    manifest = re.search(r"<<'JOB'\n(.*?)\nJOB\n", notes, re.DOTALL)
    assert manifest, "the manifest can't be pasted"
    LeptonTrainingJobSpec.model_validate(yaml.safe_load(manifest[1])["spec"])


# --- values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--set=replicas=0", r"at '/replicas': minimum: got 0, want 1"),
        ("--set=replicas=two", r"at '/replicas': got string, want integer"),
        ("--set=replica=2", r"additional properties 'replica' not allowed"),
        ("--set=image.pullPolicy=Sometimes", r"at '/image/pullPolicy': value must be one of"),
        ("--set=image.digest=sha256:123", r"at '/image/digest': .*does not match pattern"),
        ("--set=image.name=x", r"at '/image': additional properties 'name' not allowed"),
        ("--set=image.repository=", r"at '/image/repository': minLength"),
        ("--set=jobs.maxInterruptions=-1", r"at '/jobs/maxInterruptions': minimum"),
        ("--set=jobs.interconnectLabel=a b", r"at '/jobs/interconnectLabel': .*pattern"),
        ("--set=jobs.finishedPodsSeconds=soon", r"at '/jobs/finishedPodsSeconds': got string"),
        ("--set=jobs.resourceShapes.a.gpus=1", r"additional properties 'gpus' not allowed"),
        ("--set=performance.writeRate=0", r"at '/performance/writeRate': minimum"),
        ("--set=performance.workers=many", r"at '/performance/workers': got string"),
        ("--set=performance.rate=9", r"additional properties 'rate' not allowed"),
        ("--set=logging.level=loud", r"at '/logging/level': value must be one of"),
        ("--set=resources.cpu=1", r"at '/resources': additional properties 'cpu' not allowed"),
        ("--set=extraArgs={run}", r"at '/extraArgs/0': .*does not match pattern"),
        ("--set=serviceMonitor.interval=often", r"at '/serviceMonitor/interval': .*pattern"),
        ("--set=podAnnotations.a=1", r"at '/podAnnotations/a': got number, want string"),
        ("--set=crds.install=maybe", r"at '/crds/install': got string, want boolean"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Helm, given: str, message: str) -> None:
    done = helm("template", "lepton-operator", str(CHART), given)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr


def test_every_value_is_described_in_the_schema() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    undescribed: list[str] = []

    def walk(node: dict[str, Any], path: str) -> None:
        if "$ref" in node:
            node = schema["definitions"][node["$ref"].rpartition("/")[2]]
        if path and "description" not in node:
            undescribed.append(path)
        if node.get("type") == "object" and "properties" in node:
            assert node.get("additionalProperties") is False, f"{path or '/'} takes anything"
        for name, child in node.get("properties", {}).items():
            walk(child, f"{path}/{name}")

    walk(schema, "")
    assert not undescribed
    assert set(schema["properties"]) - {"global"} == set(values)
