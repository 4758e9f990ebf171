"""Types of fields that several sections of the spec share."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from lepton.spec.base import text_like

QUANTITY_PATTERN = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""Of Kubernetes' resource.Quantity."""
Quantity = Annotated[
    int | Annotated[str, StringConstraints(max_length=64, pattern=QUANTITY_PATTERN)],
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 64,
        }
    ),
]
"""A Kubernetes resource quantity such as 2, "500m" or "8Gi"; a fraction is text: "0.5"."""

SIZE_PATTERN = r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?"

Argument = Annotated[str, StringConstraints(max_length=16_384)]
ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    *text_like(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?",
        "a name of lower-case letters, digits, '-' and '.' that begins and ends with a letter or"
        " digit",
    ),
]
LabelValue = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    *text_like(
        r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?",
        "a label's value: letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    ),
]
OpenObject = Annotated[dict[str, Any], Field(max_length=64)]
"""An object whose fields the Kubernetes API itself checks when the pod is made of them."""

LONGEST_SECONDS = 10 * 365 * 86_400
"""Ten years; more is none."""
Seconds = Annotated[int, Field(ge=1, le=LONGEST_SECONDS)]
