"""What all parts of the configuration share."""

from pydantic import Field

from idle_md.configuration import Count, Positive, Section


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
