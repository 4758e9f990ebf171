"""`spec.elastic`: how far the number of workers may change while the job runs."""

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from lepton.spec.base import SpecModel, refusal, rule, rules

MIN_ABOVE_MAX = "elastic.min must not be above elastic.max"


class Elastic(SpecModel):
    """Bounds between which the number of workers may change while the job runs."""

    model_config = ConfigDict(
        json_schema_extra=rules(rule("self.min <= self.max", MIN_ABOVE_MAX, field="min"))
    )

    min: Annotated[int, Field(ge=1, le=4096)]
    """Fewest workers."""
    max: Annotated[int, Field(ge=1, le=4096)]
    """Most workers."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "Elastic":
        if self.min > self.max:
            raise refusal(MIN_ABOVE_MAX, field="min")
        return self
