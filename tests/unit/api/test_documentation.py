"""What docs/jobs.md shows is accepted."""

import re
from pathlib import Path

import pytest
import yaml

from lepton_operator.api.names import API_VERSION, KIND, FailureClass, Reason
from lepton_operator.api.scheduling import Gang
from lepton_operator.api.validation import parse_spec

TEXT = (Path(__file__).parents[3] / "docs" / "jobs.md").read_text()
SHOWN = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
OURS = [shown for shown in SHOWN if "kind" not in shown]


@pytest.mark.parametrize("shown", OURS, ids=range(len(OURS)))
def test_a_specification_that_is_shown_is_valid(shown):
    parse_spec({"environment": {}, **shown["spec"]})


def test_there_are_such_specifications():
    assert len(OURS) >= 5


def test_the_autoscaler_that_is_shown_scales_a_training_job():
    (autoscaler,) = (shown for shown in SHOWN if shown.get("kind") == "HorizontalPodAutoscaler")
    target = autoscaler["spec"]["scaleTargetRef"]
    assert (target["apiVersion"], target["kind"]) == (API_VERSION, KIND)


def test_every_gang_is_explained():
    for gang in Gang:
        assert f"| `{gang}` |" in TEXT


def test_every_class_of_failure_is_explained():
    for failure_class in FailureClass:
        assert f"| {failure_class} |" in TEXT


@pytest.mark.parametrize(
    "reason",
    [
        Reason.REPEATED_FAILURE,
        Reason.FAILED_BY_RULE,
        Reason.MEMORY_LIMITED,
        Reason.AVOIDING_NODES,
        Reason.DEADLINE_EXCEEDED,
    ],
)
def test_a_reason_is_spelt_as_it_is_told(reason):
    assert f"`{reason}`" in TEXT
