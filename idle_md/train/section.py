"""What all parts of the configuration share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BudgetConfig(Section):
    """When training ends: whichever limit comes first."""

    steps: Count = 20_000
    minutes: Positive | None = None
    validate_every: Count = 200
    early_stopping: Count | None = Field(
        default=None, description="validations without improvement of the target before stopping"
    )
    max_validation: Count = Field(
        default=200, description="validation geometries of other fidelities that are evaluated"
    )
