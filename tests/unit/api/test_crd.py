"""The generated CustomResourceDefinition: complete, bounded, structural, and what is committed."""

from collections.abc import Iterator
from typing import Any

import pytest

from lepton_operator.api import generate, names
from lepton_operator.api.crd import custom_resource_definition
from lepton_operator.api.spec import LeptonTrainingJobSpec

DEFINITION = custom_resource_definition()
(VERSION,) = DEFINITION["spec"]["versions"]
ROOT = VERSION["schema"]["openAPIV3Schema"]
NOT_STRUCTURAL = {
    "$ref", "$defs", "allOf", "oneOf", "not", "const", "title", "examples", "propertyNames",
    "patternProperties", "prefixItems", "nullable",
}  # fmt: skip


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below this one, with the path of the field that it describes."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        if path or name not in ("apiVersion", "kind", "metadata"):
            yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


NODES = list(nodes(ROOT))


def test_the_committed_file_is_what_the_models_say(capsys):
    assert generate.main(["--check"]) == 0, capsys.readouterr().err


def test_a_file_that_drifted_is_found(tmp_path, capsys):
    assert generate.main(["--folder", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("maximum: 4096", "maximum: 4097"))
    assert generate.main(["--check", "--folder", str(tmp_path)]) == 1
    assert "make crds" in capsys.readouterr().err


def test_every_field_is_described_in_one_paragraph():
    for path, node in NODES:
        if path.endswith(("[]", "{}")):
            continue
        assert node.get("description", "").endswith("."), f"{path} has no description"
        assert "\n" not in node["description"], path


def test_every_text_list_and_map_is_bounded():
    for path, node in NODES:
        kind = node.get("type")
        if node.get("x-kubernetes-int-or-string"):
            assert "maxLength" in node, path
        elif kind == "string":
            assert "maxLength" in node or "enum" in node or node.get("format") == "date-time", path
        elif kind == "array":
            assert "maxItems" in node, path
        elif kind == "object" and "properties" not in node:
            assert "maxProperties" in node, path


def test_bounds_of_numbers_survive_the_api_servers_floating_point():
    for path, node in NODES:
        if node.get("type") == "integer":
            for bound in ("minimum", "maximum"):
                assert abs(node.get(bound, 0)) <= 2**53, path


def test_the_schema_is_structural():
    for path, node in NODES:
        assert not NOT_STRUCTURAL & node.keys(), path
        typeless = "type" not in node
        if typeless:
            assert node.get("x-kubernetes-int-or-string") or node.get(
                "x-kubernetes-preserve-unknown-fields"
            ), path
        assert not ({"properties", "additionalProperties"} <= node.keys()), path


def test_every_field_but_those_about_a_running_job_is_fixed_once_it_started():
    told = " ".join(rule["rule"] for rule in ROOT["x-kubernetes-validations"])
    supported = {
        field.alias
        for field in LeptonTrainingJobSpec.model_fields.values()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra)
    }
    changeable = {"suspend", "failurePolicy", "ttlSecondsAfterFinished"}
    for field in supported - changeable:
        assert f"self.spec.{field} == oldSelf.spec.{field}" in told
    for field in changeable:
        assert f"self.spec.{field} ==" not in told


def test_a_write_of_status_alone_is_not_held_against_every_field_of_spec():
    rules = [rule["rule"] for rule in ROOT["x-kubernetes-validations"] if "oldSelf" in rule["rule"]]
    assert len(rules) == 3  # managedBy, workers, and all others in one
    assert all(") || self.spec" in rule for rule in rules if "oldSelf.status" in rule)


def test_an_autoscaler_finds_what_it_scales():
    scale = VERSION["subresources"]["scale"]
    assert scale["specReplicasPath"] == ".spec.workers"
    for path in scale.values():
        node = ROOT
        for step in path.strip(".").split("."):
            node = node["properties"][step]
        assert node["type"] in ("integer", "string")


def test_columns_show_where_a_job_stands():
    columns = VERSION["additionalPrinterColumns"]
    shown = [c["name"].upper() for c in columns if not c.get("priority")]
    wide = [c["name"].upper() for c in columns if c.get("priority")]
    assert shown == ["PHASE", "PROGRESS", "REWARD", "WORKERS", "RESTARTS", "ETA", "AGE"]
    assert wide == ["TREND", "ALGORITHM", "QUEUE", "REASON"]


@pytest.mark.parametrize(
    "path",
    [c["jsonPath"] for c in VERSION["additionalPrinterColumns"] if "meta" not in c["jsonPath"]],
)
def test_a_column_points_at_a_field_that_exists(path):
    node = ROOT
    for step in path.strip(".").split("."):
        assert step in node["properties"], path
        node = node["properties"][step]


def test_status_has_no_defaults_since_the_operator_alone_writes_it():
    for path, node in nodes(ROOT["properties"]["status"]):
        assert "default" not in node, path


def test_names_are_those_that_users_type():
    spoken = DEFINITION["spec"]["names"]
    assert spoken["shortNames"] == ["ltj"]
    assert DEFINITION["metadata"]["name"] == "leptontrainingjobs.training.lepton.ai"
    assert names.MAX_NAME_LENGTH + len("-9999-4095") <= 63
