"""The table of good and bad manifests, as the operator and `lepton run` read it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lepton_operator.api.validation import InvalidSpec, check_name, parse_known, parse_spec

TABLE = Path(__file__).parents[2] / "data" / "manifests"
GOOD = sorted((TABLE / "good").glob("*.yaml"))
BAD = sorted((TABLE / "bad").glob("*.yaml"))


def problems(manifest: dict[str, Any]) -> str:
    """What is told of a manifest; "" when it is good."""
    try:
        check_name(manifest["metadata"]["name"])
        parse_spec(manifest["spec"])
    except InvalidSpec as error:
        return "\n".join(error.problems)
    return ""


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_manifest_is_read(path):
    assert problems(yaml.safe_load(path.read_text())) == ""


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_manifest_is_refused_with_the_reason(path):
    text = path.read_text()
    told = problems(yaml.safe_load(text))
    for part in text.splitlines()[0].removeprefix("# expect: ").split(" … "):
        assert part in told


def test_a_problem_names_field_value_and_what_is_right():
    with pytest.raises(InvalidSpec) as refused:
        parse_spec({"environment": {}, "workers": 0, "agent": {"rewardThreshold": "high"}})
    assert refused.value.problems == (
        'spec.agent.rewardThreshold: Invalid value: "high": must be a number',
        "spec.workers: Invalid value: 0: should be at least 1",
    )


def test_a_misspelt_field_gets_the_nearest_name():
    with pytest.raises(InvalidSpec, match=r"spec\.wokers: unknown field; did you mean workers\?"):
        parse_spec({"environment": {}, "wokers": 2})
    with pytest.raises(InvalidSpec, match=r"spec\.env\[0\]\.valu: .*did you mean value\?"):
        parse_spec({"command": ["a"], "env": [{"name": "A", "valu": "1"}]})


def test_fields_of_a_newer_version_can_be_overlooked_and_nothing_else():
    newer = {"command": ["a"], "new": 1, "env": [{"name": "A", "value": "1", "new": {}}]}
    assert parse_known(newer) == parse_spec(
        {"command": ["a"], "env": [{"name": "A", "value": "1"}]}
    )
    with pytest.raises(InvalidSpec) as refused:
        parse_known({**newer, "workers": 0})
    assert refused.value.problems == ("spec.workers: Invalid value: 0: should be at least 1",)


def test_a_wrong_hyperparameter_is_refused_with_the_right_names():
    spec = {"environment": {}, "agent": {"hyperparameters": {"learningrat": 1}}}
    with pytest.raises(InvalidSpec, match=r"spec\.agent\.hyperparameters: .*learningRate"):
        parse_spec(spec)


def test_a_wrong_quantity_is_told_once():
    spec = {"environment": {}, "resources": {"limits": {"cpu": 0.5}}}
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(spec)
    assert refused.value.problems == (
        "spec.resources.limits.cpu: Invalid value: 0.5:"
        ' must be a whole number or text such as "500m", "8Gi"',
    )
