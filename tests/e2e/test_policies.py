"""Who reaches the workers, what they reach of other namespaces, and the sample that pins namespaces
to regions and registries."""

import json
import uuid

import pytest
import yaml

from steps import ROOT
from support import failed, until

SAMPLE = ROOT / "examples" / "policies" / "regions-and-registries.yaml"


def test_a_job_has_a_policy_of_its_own_and_it_goes_with_it(jobs, operator):
    jobs.apply("guarded", command=["true"], workers=2)
    assert jobs.finished("guarded")["phase"] == "Complete"
    (policy,) = jobs.items("networkpolicies")
    assert policy["metadata"]["name"] == "guarded"
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    together, figures = policy["spec"]["ingress"]
    assert "ports" not in together
    namespace = figures["from"][0]["namespaceSelector"]["matchLabels"]
    assert namespace == {"kubernetes.io/metadata.name": operator}
    jobs.kubectl("delete", "ltj", "guarded")
    until("its policy is gone", lambda: jobs.items("networkpolicies") == [])


@pytest.fixture
def neighbour(kubectl):
    """Another namespace, with a Secret and a claim called `theirs`."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "theirs"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    kubectl("create", "namespace", name)
    kubectl("-n", name, "create", "secret", "generic", "theirs", "--from-literal=key=value")
    kubectl("-n", name, "apply", "-f", "-", input=json.dumps(claim))
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def test_secrets_and_claims_of_another_namespace_are_out_of_a_jobs_reach(jobs, neighbour):
    secret = {"namespace": neighbour, "name": "theirs", "key": "key"}
    wanted = {
        "secret": {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": secret}}]},
        "claim": {"storage": {"claimName": "theirs"}},
    }
    for name, spec in wanted.items():
        jobs.apply(name, command=["true"], pendingDeadlineSeconds=10, **spec)
    for name, thing in (("secret", "secret"), ("claim", "persistentvolumeclaim")):
        told = failed(jobs.finished(name))
        assert told["reason"] == "PendingDeadlineExceeded"
        assert f'{thing} "theirs" not found' in told["message"]


@pytest.fixture
def pinned(kubectl, crd, namespace):
    """A namespace that the sample pins; returns what a job of it is answered."""
    kubectl("apply", "-f", str(SAMPLE))
    kubectl("label", "namespace", namespace, "training.lepton.ai/pinned=true")
    kubectl(
        "annotate", "namespace", namespace, "training.lepton.ai/regions=north,south",
        "training.lepton.ai/registries=registry.example/team/",
    )  # fmt: skip

    def answer(image="registry.example/team/a:1", **scheduling):
        manifest = {
            "apiVersion": "training.lepton.ai/v1alpha1",
            "kind": "LeptonTrainingJob",
            "metadata": {"name": "pinned", "namespace": namespace},
            "spec": {"command": ["true"], "image": image, "scheduling": scheduling},
        }
        dry = ("apply", "--dry-run=server", "-f", "-")
        return kubectl(*dry, input=yaml.safe_dump(manifest), check=False).stderr

    until("the policy is in force", lambda: answer(regions=["west"]))
    yield answer
    kubectl("delete", "-f", str(SAMPLE))


def test_a_pinned_namespace_takes_its_regions_and_registries_alone(pinned):
    assert pinned(regions=["north"]) == ""
    assert pinned(regions=["north", "south"]) == ""
    for scheduling in ({"regions": ["north", "west"]}, {}):
        assert "jobs of this namespace name one or more of north, south" in pinned(**scheduling)
    for image in ("registry.example/other/a:1", "a"):
        told = pinned(image=image, regions=["north"])
        assert "images of this namespace begin with registry.example/team/" in told


def test_the_sample_leaves_other_namespaces_alone(pinned, kubectl):
    job = {
        "apiVersion": "training.lepton.ai/v1alpha1",
        "kind": "LeptonTrainingJob",
        "metadata": {"name": "free", "namespace": "default"},
        "spec": {"command": ["true"], "image": "any"},
    }
    kubectl("apply", "--dry-run=server", "-f", "-", input=json.dumps(job))
