"""Who reaches the workers, and the sample that pins namespaces to regions and registries."""

import json

import pytest
import yaml

from steps import ROOT
from support import until

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
