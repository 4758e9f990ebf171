"""resourceShape: what a name stands for, and what is told of one that stands for nothing."""

from dataclasses import replace

import pytest
from situations import (
    SETTINGS,
    batch_job,
    condition,
    counted,
    is_true,
    plan_for,
    pod,
    running,
    training_job,
)

from lepton_operator.api.names import ConditionType, Reason
from lepton_operator.api.shapes import parse_shapes

SHAPES = parse_shapes(
    {
        "gpu-large": {
            "resources": {"limits": {"nvidia.com/gpu": 8, "memory": "64Gi"}},
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        },
        "cpu-small": {"resources": {"requests": {"cpu": 1}}},
    }
)
OFFERED = replace(SETTINGS, shapes=SHAPES)


def pod_of(status=None, **spec):
    """The pod of the attempt that is made."""
    plan = plan_for(training_job(status or counted(), **spec), settings=OFFERED)
    return plan.create[-1]["spec"]["template"]["spec"]


def test_a_shape_stands_for_resources_nodes_and_their_taints():
    made = pod_of(resourceShape="gpu-large")
    (container,) = made["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 8, "memory": "64Gi"}}
    assert made["nodeSelector"] == {"pool": "gpu"}
    assert made["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (variables["PET_NPROC_PER_NODE"], variables["WORLD_SIZE"]) == ("8", "8")


def test_what_a_job_says_itself_goes_before_its_shape():
    made = pod_of(
        resourceShape="gpu-large",
        resources={"limits": {"nvidia.com/gpu": 2}},
        template={"nodeSelector": {"zone": "a"}, "tolerations": [{"operator": "Exists"}]},
    )
    limits = made["containers"][0]["resources"]["limits"]
    assert limits == {"nvidia.com/gpu": 2, "memory": "64Gi"}
    assert made["nodeSelector"] == {"pool": "gpu", "zone": "a"}
    assert len(made["tolerations"]) == 2


def test_the_memory_of_a_shape_can_grow():
    failed = {"number": 1, "class": "OutOfMemory", "endTime": "2026-01-01T00:00:00Z"}
    job = training_job(
        counted(2, attempts=[failed], memory="96Gi"),
        resourceShape="gpu-large",
        failurePolicy={"growMemoryBy": "50%"},
    )
    plan = plan_for(job, settings=OFFERED)
    assert plan.look_up is not None
    assert plan.look_up.limits


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (OFFERED, 'supported values: "cpu-small", "gpu-large"'),
        (SETTINGS, "the administrator has defined none"),
    ],
)
def test_an_unknown_shape_is_refused_with_those_that_there_are(settings, told):
    failed = condition(
        plan_for(training_job(resourceShape="huge"), settings=settings), ConditionType.FAILED
    )
    assert failed.reason == Reason.INVALID_SPEC
    assert failed.message.startswith('spec.resourceShape: Unsupported value: "huge"')
    assert told in failed.message


def test_what_runs_goes_on_though_its_shape_is_offered_no_more():
    job = training_job(running(), resourceShape="gone")
    plan = plan_for(job, settings=OFFERED, jobs=(batch_job(),), pods=(pod(0),))
    assert not is_true(plan, ConditionType.FAILED)


@pytest.mark.parametrize("raw", [{"a": {"gpus": 1}}, {"A b": {}}, ["a"], {"a": {"resources": 1}}])
def test_a_wrong_file_of_shapes_is_refused(raw):
    with pytest.raises(ValueError, match="validation error"):
        parse_shapes(raw)
