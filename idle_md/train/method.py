"""The method section of the configuration: a union told apart by ``name``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from idle_md.configuration import Count, Positive, Section, Weight
from idle_md.train.sections import BudgetConfig


class FinetuneConfig(Section):
    """Training on the target alone that starts from a trained model."""

    head: Literal["copy", "new"] = Field(
        default="copy", description="the new head starts as a copy of the old one, or afresh"
    )
    rates: dict[str, Weight] = Field(
        default={},
        description="factor on the learning rate by parameter group (embedding, interaction_1, "
        "..., readout, scale_shift); 0 freezes it; 1 for groups that are not named, but 0 for "
        "scale_shift",
    )
    reset: list[str] = Field(default=[], description="parameter groups to initialise again")
    learning_rate: Positive = 2e-4
    batch_size: Count = 16
    budget: BudgetConfig = BudgetConfig(steps=2000, validate_every=50, early_stopping=20)


class SingleConfig(Section):
    """Labels of the target fidelity alone."""

    name: Literal["single"] = "single"


class IdleConfig(Section):
    """Implicit Delta Learning: one backbone, one head per fidelity, trained jointly."""

    name: Literal["idle"] = "idle"
    head: Literal["correction", "independent"] = Field(
        default="correction",
        description="the target head corrects the low-level head, or stands on its own",
    )
    low_level: str | None = Field(
        default=None, description="fidelity to correct; default: the one with most energies"
    )
    paired: bool = Field(
        default=True,
        description="supervise the difference of the two heads where both labels exist",
    )
    low_level_weight: Weight | Literal["auto"] = Field(
        default=1.0,
        description="factor on the loss of every fidelity but the target; auto: the one of "
        "several short trainings with the smallest validation error of the target",
    )
    start: Path | None = Field(
        default=None,
        description="checkpoint with heads of these fidelities to go on from, such as one of adapt",
    )
    finetune: FinetuneConfig | None = Field(
        default=None, description="train on the target alone afterwards"
    )


class TransferConfig(Section):
    """Pre-train on one fidelity, fine-tune on the target with rates by parameter group."""

    name: Literal["transfer"] = "transfer"
    source: str = Field(description="fidelity to pre-train on")
    checkpoint: Path | None = Field(
        default=None, description="trained model to start from in place of a pre-training"
    )
    finetune: FinetuneConfig = FinetuneConfig()


class AdaptConfig(Section):
    """A trained model gets the target as a new fidelity in closed form, its backbone frozen."""

    name: Literal["adapt"] = "adapt"
    source: str = Field(description="fidelity of the trained model that is corrected")
    checkpoint: Path | None = Field(
        default=None, description="trained model to start from in place of a pre-training"
    )
    steps: Count = Field(default=2000, description="steps of distilling the correction to a head")


class DeltaConfig(Section):
    """Explicit delta learning: the model is the target less a low level that runs live."""

    name: Literal["delta"] = "delta"
    low_level: str = Field(description="fidelity that is calculated live at inference")


Method = Annotated[
    SingleConfig | IdleConfig | TransferConfig | AdaptConfig | DeltaConfig,
    Field(discriminator="name"),
]
