"""Section `environment`: what the agent acts in."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from lepton.spec.base import SpecModel, refusal, rule, rules, text_like

EITHER_NAME_OR_ENTRY_POINT = "set either name or entryPoint, not both"

EnvironmentName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    *text_like(
        r"[A-Za-z0-9][A-Za-z0-9_.:/-]*",
        "name is that of a registered environment, such as CartPole-v1;"
        " letters, digits and _ . : / - only",
    ),
]
EntryPoint = Annotated[
    str,
    StringConstraints(min_length=3, max_length=200),
    *text_like(
        r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*",
        "entryPoint is package.module:Class, such as my_package.environments:Warehouse",
    ),
]


class EnvironmentSpec(SpecModel):
    """The environment that the agent learns in: a built-in one, any Gymnasium id, or a class."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.name) && has(self.entryPoint))", EITHER_NAME_OR_ENTRY_POINT)
        )
    )

    name: EnvironmentName | None = None
    """Name of a registered environment: `CartPole-v1` or any other Gymnasium id. Without name
    and entryPoint it is lepton's own batched CartPole."""

    entry_point: EntryPoint | None = None
    """Own environment as `package.module:Class`, a subclass of gymnasium.Env that the image can
    import. Instead of name."""

    parameters: Annotated[dict[str, Any], Field(max_length=64)] = Field(default_factory=dict)
    """Keyword arguments that the environment is made with."""

    count: Annotated[int, Field(ge=1, le=65536)] | None = None
    """How many copies of the environment each worker process steps together, as one batch.
    Default: what the algorithm's defaults name."""

    @model_validator(mode="after")
    def _name_or_entry_point(self) -> "EnvironmentSpec":
        if self.name is not None and self.entry_point is not None:
            raise refusal(EITHER_NAME_OR_ENTRY_POINT)
        return self
