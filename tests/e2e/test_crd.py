"""The CustomResourceDefinition on a real API server: what a user is told, and when."""

import json
from pathlib import Path

import pytest
import yaml

TABLE = Path(__file__).parents[1] / "data" / "manifests"
GOOD = sorted((TABLE / "good").glob("*.yaml"))
BAD = sorted((TABLE / "bad").glob("*.yaml"))

CHANGES = {
    "environment": {"environment": {"parameters": {"gravity": 2}}},
    "agent": {"agent": {"hyperparameters": {"horizon": 8}}},
    "trainer": {"trainer": {"seed": 8}},
    "evaluation": {"evaluation": {"episodes": 1}},
    "checkpoint": {"checkpoint": {"keep": 9}},
    "image": {"image": "other"},
    "env": {"env": [{"name": "A", "value": "b"}]},
    "resources": {"resources": {"limits": {"nvidia.com/gpu": 2}}},
    "template": {"template": {"nodeSelector": {"pool": "other"}}},
    "storage": {"storage": {"size": "20Gi"}},
    "sharedMemory": {"sharedMemory": "1Gi"},
    "scheduling": {"scheduling": {"regions": ["north"]}},
    "resourceShape": {"resourceShape": "other"},
    "startAt": {"startAt": "2027-01-01T00:00:00Z"},
    "activeDeadlineSeconds": {"activeDeadlineSeconds": 60},
    "pendingDeadlineSeconds": {"pendingDeadlineSeconds": 60},
    "progressDeadlineSeconds": {"progressDeadlineSeconds": 60},
}


@pytest.fixture
def started(kubectl, crd, namespace):
    """A job whose status says that an attempt was counted; returns `patch(spec)`.

    It is suspended and another controller's, so that no operator writes its status meanwhile.
    """
    path = TABLE / "good" / "cartpole.yaml"
    manifest = yaml.safe_load(path.read_text())
    manifest["spec"] |= {"suspend": True, "managedBy": "example.com/nobody"}
    kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest))

    def patch(spec, *arguments):
        body = json.dumps({"spec": spec})
        return kubectl(
            "patch",
            "ltj",
            "job",
            "-n",
            namespace,
            "--type=merge",
            "-p",
            body,
            *arguments,
            check=False,
        )

    status = json.dumps({"status": {"attempt": 1, "restarts": 0, "interruptions": 0}})
    kubectl(
        "patch", "ltj", "job", "-n", namespace, "--subresource=status", "--type=merge", "-p", status
    )
    return patch


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_manifest_is_accepted(kubectl, crd, path):
    kubectl("apply", "--validate=strict", "--dry-run=server", "-f", str(path))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_with_the_reason(kubectl, crd, path):
    done = kubectl("apply", "--validate=strict", "--dry-run=server", "-f", str(path), check=False)
    assert done.returncode != 0
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ").split(" … ")
    for part in expected:
        assert part in done.stderr


@pytest.mark.parametrize("field", CHANGES)
def test_a_started_job_cannot_be_changed(started, field):
    done = started(CHANGES[field])
    assert done.returncode != 0
    assert f"spec.{field}" in done.stderr
    assert f"{field} can't change once the job has started; delete the job" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": False},
        {"failurePolicy": {"maxRestarts": 7}},
        {"ttlSecondsAfterFinished": 3600},
    ],
)
def test_a_started_job_can_be_suspended_and_what_follows_its_end_be_changed(started, change):
    assert started(change, "--dry-run=server").returncode == 0


def test_a_suspended_job_may_get_another_number_of_workers(started):
    assert started({"workers": 3}, "--dry-run=server").returncode == 0


@pytest.mark.parametrize(("elastic", "accepted"), [(None, False), ({"min": 1, "max": 4}, True)])
def test_workers_of_a_job_that_runs_change_with_elastic_alone(
    kubectl, crd, namespace, elastic, accepted
):
    spec = {"command": ["true"], "workers": 2, "managedBy": "example.com/nobody"}
    if elastic is not None:
        spec["elastic"] = elastic
    manifest = {
        "apiVersion": "training.lepton.ai/v1alpha1",
        "kind": "LeptonTrainingJob",
        "metadata": {"name": "job"},
        "spec": spec,
    }
    kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(manifest))
    status = json.dumps({"status": {"attempt": 1, "restarts": 0, "interruptions": 0}})
    kubectl(
        "patch", "ltj", "job", "-n", namespace, "--subresource=status", "--type=merge", "-p", status
    )
    done = kubectl("scale", "-n", namespace, "ltj/job", "--replicas=3", check=False)
    assert (done.returncode == 0) is accepted
    if accepted:
        done = kubectl("scale", "-n", namespace, "ltj/job", "--replicas=5", check=False)
        assert "workers must lie between elastic.min and elastic.max" in done.stderr
    else:
        assert "workers can't change while the job runs: suspend it first" in done.stderr


def test_a_job_that_has_not_started_can_be_changed(kubectl, crd, namespace):
    manifest = str(TABLE / "good" / "suspended.yaml")
    kubectl("apply", "-n", namespace, "-f", manifest)
    for change in ({"workers": 2}, {"image": "other"}):
        body = json.dumps({"spec": change})
        kubectl("patch", "ltj", "job", "-n", namespace, "--type=merge", "-p", body)
    told = kubectl("get", "ltj", "job", "-n", namespace, "-o", "json").stdout
    spec = json.loads(told)["spec"]
    assert (spec["workers"], spec["image"]) == (2, "other")


def test_explain_describes_every_section(kubectl, crd):
    told = kubectl("explain", "ltj.spec", "--recursive").stdout
    for field in ("environment", "entryPoint", "rewardThreshold", "maxRestarts", "claimName"):
        assert field in told
    assert "Gymnasium" in kubectl("explain", "ltj.spec.environment.name").stdout
    assert "doubled" in kubectl("explain", "ltj.spec.failurePolicy.backoffSeconds").stdout


def test_defaults_are_filled_in(kubectl, crd):
    manifest = str(TABLE / "good" / "defaults.yaml")
    told = kubectl("apply", "--dry-run=server", "-o", "json", "-f", manifest).stdout
    spec = json.loads(told)["spec"]
    assert spec["suspend"] is False
    assert spec["workers"] == 1
    assert spec["failurePolicy"] == {
        "maxRestarts": 3, "backoffSeconds": 10, "avoidFailedNodes": True, "rules": [],
    }  # fmt: skip


def test_the_api_server_takes_any_status_that_the_models_can_hold(kubectl, crd, namespace, started):
    """Bounds of the models and of the schema agree at their ends."""
    extreme = {
        "phase": "Running",
        "reward": "1" * 32,
        "progress": {"percent": 100, "step": 2**53, "summary": "100%", "stepsPerSecond": 1e300},
        "metrics": [{"name": f"m{i}", "value": "9" * 32} for i in range(16)],
        "attempts": [{"number": i + 1, "exitCode": -9, "message": "é" * 1024} for i in range(10)],
    }
    kubectl(
        "patch", "ltj", "job", "-n", namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": extreme}),
    )  # fmt: skip
    told = kubectl("get", "ltj", "job", "-n", namespace, "-o", "json").stdout
    status = json.loads(told)["status"]
    assert {name: status[name] for name in extreme} == extreme
