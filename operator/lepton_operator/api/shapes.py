"""Resource shapes: names under which an administrator offers resources and their nodes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lepton.spec.base import SpecModel
from lepton_operator.api.fields import LabelValue, ObjectName, OpenObject
from lepton_operator.api.spec import LeptonTrainingJobSpec, Resources


class Shape(SpecModel):
    """What a worker gets whose job names the shape."""

    resources: Resources = Field(default_factory=Resources)
    """Requests and limits, as in spec.resources."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Labels of the nodes that have them."""
    tolerations: Annotated[list[OpenObject], Field(max_length=32)] = Field(default_factory=list)
    """Taints of these nodes, as in a pod."""


_SHAPES: TypeAdapter[dict[str, Shape]] = TypeAdapter(dict[ObjectName, Shape])


def parse_shapes(raw: Any) -> Mapping[str, Shape]:
    """Shapes by name. Raises pydantic.ValidationError, a ValueError."""
    return _SHAPES.validate_python(raw or {})


def with_shape(spec: LeptonTrainingJobSpec, shapes: Mapping[str, Shape]) -> LeptonTrainingJobSpec:
    """The spec with what its shape stands for; what it says itself goes before."""
    shape = shapes.get(spec.resource_shape or "")
    if shape is None:
        return spec
    own, template = spec.resources, spec.template
    resources = Resources(
        requests={**shape.resources.requests, **own.requests},
        limits={**shape.resources.limits, **own.limits},
    )
    pods = template.model_copy(
        update={
            "node_selector": {**shape.node_selector, **template.node_selector},
            "tolerations": [*shape.tolerations, *template.tolerations],
        }
    )
    return spec.model_copy(update={"resources": resources, "template": pods})


def problem(spec: LeptonTrainingJobSpec, shapes: Mapping[str, Shape]) -> str | None:
    """What is wrong with the shape that the spec names."""
    name = spec.resource_shape
    if name is None or name in shapes:
        return None
    if not shapes:
        return (
            f'spec.resourceShape: Unsupported value: "{name}": the administrator has defined none'
            " (jobs.resourceShapes of the chart); use resources"
        )
    known = ", ".join(f'"{shape}"' for shape in sorted(shapes))
    return f'spec.resourceShape: Unsupported value: "{name}": supported values: {known}'
