"""Header of a model's file: what made the weights, and what they are for."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

import lepton
from lepton.spec.agent import Algorithm

FORMAT_VERSION = 2


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that can't be printed")
    return text


def _parameters(values: dict[str, Any] | None) -> dict[str, Any] | None:
    own = {"self", "source", "count", "device"}.intersection(values or {})
    if own:
        raise ValueError(f"no environment has a parameter {min(own)}")
    return values


Text = Annotated[str, AfterValidator(_printable)]
"""Something that people are shown: a file must not move their cursor."""


OwnPart = Literal["perceptor", "decisionMaker", "actuator"]


class _HeaderModel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        ser_json_inf_nan="constants",
        use_attribute_docstrings=True,
    )


class TrainedIn(_HeaderModel):
    """The environment that an agent was trained in."""

    name: Text
    parameters: Annotated[dict[str, Any] | None, AfterValidator(_parameters)]
    """None when JSON can't hold them."""


class ModelHeader(_HeaderModel):
    """What a model's file says of itself."""

    format: int = FORMAT_VERSION
    made_by: Text = f"lepton {lepton.__version__}"
    sha256: str = ""
    """The digest of the rest of the header and of the weights."""
    algorithm: Algorithm
    reward_threshold: float | None
    hyperparameters: dict[str, Any]
    observation_space: dict[str, Any]
    action_space: dict[str, Any]
    environment: TrainedIn | None
    own_parts: dict[OwnPart, Text]
    """Where the parts that are not lepton's were defined, as module:name."""

    def to_json_object(self) -> dict[str, Any]:
        """The header as a JSON object with camelCase names."""
        return self.model_dump(mode="json", by_alias=True)
