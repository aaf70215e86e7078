"""Sections of the configuration, all but those of the backbone and the method."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from idle_md.configuration import Count, Positive, Section, Share, Weight

STEPS = 20_000  # of a training whose end the configuration does not say


class SplitConfig(Section):
    """How geometries are divided, over all fidelities at once; roles in the store come first.

    Of the labels of every fidelity about the same share is validated on, and at least one label
    where there are two or more.
    """

    by: Literal["geometry", "group"] = "geometry"
    validation: Share = 0.05
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 0


class DataConfig(Section):
    """Where labels come from and how many of them may be used."""

    store: str = Field(description="name of a shipped data set, .h5 store or .extxyz[.gz] file")
    split: SplitConfig = SplitConfig()
    budgets: dict[str, Count] = Field(
        default={},
        description="labelled geometries of a fidelity, training and validation together, drawn "
        "evenly over the groups; without an entry all are used",
    )
    replay: str | None = Field(
        default=None,
        description="another data set, of which the rest of every batch is: what a model was "
        "trained on before, so that it forgets nothing while it goes on",
    )
    budget_validation: Share = Field(
        default=0.1,
        description="share of a budget that is kept for validation, where the split has as many",
    )


class LossConfig(Section):
    """Weights of one fidelity's labels in the loss."""

    energy: Weight = 1.0
    forces: Weight = 1.0
    stress: Weight = 1.0


class BatchConfig(Section):
    """Composition of a training batch."""

    size: Count = 40
    target_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, description="share of geometries with a target label, where others exist"
    )


class OptimizerConfig(Section):
    """The optimiser, its schedule and the averaging of weights."""

    algorithm: Literal["muon", "adamw"] | None = Field(
        default=None,
        description="muon: orthogonalised momentum for weight matrices, AdamW for the rest; "
        "default: muon for painn, whose errors are a third smaller with it after as many steps, "
        "and adamw for others",
    )

    learning_rate: Positive = 2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: Count = Field(
        default=10, description="validations without improvement before the rate is halved"
    )
    correction_weight_decay: Weight = Field(
        default=1.0, description="decoupled weight decay on correction heads alone"
    )
    gradient_clip: Positive = 10.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998


class BudgetConfig(Section):
    """When training ends: whichever limit comes first."""

    steps: Count | None = Field(
        default=None, description="default: 20000, or no limit where minutes are given"
    )
    minutes: Positive | None = None
    validate_every: Count = 200
    early_stopping: Count | None = Field(
        default=None, description="validations without improvement of the target before stopping"
    )
    max_validation: Count = Field(
        default=200, description="validation geometries of other fidelities that are evaluated"
    )

    @model_validator(mode="before")
    @classmethod
    def _some_end(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("steps") is None and value.get("minutes") is None:
            return {**value, "steps": STEPS}
        return value


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


class RefineConfig(Section):
    """Training a model on at its own level, on the geometries of another data set."""

    replay: str | None = Field(
        default=None,
        description="the data set that it was trained on before: half of every batch is of it",
    )
    learning_rate: Positive = 1e-3
    batch_size: Count = 40
    budget: BudgetConfig = BudgetConfig(steps=2000, validate_every=250)


class StudentConfig(Section):
    """The training of a whole network on labels that a closed form gives."""

    features: Count | None = Field(
        default=None,
        description="width of another network than the base model's; it starts untrained",
    )
    geometries: Count = Field(
        default=50_000, description="most geometries of the data set that it is trained on"
    )
    drawn: bool = Field(
        default=False,
        description="learn a correction that is drawn from the posterior with the training's seed, "
        "not the most probable one; members of a committee do, so that their spread means "
        "something",
    )
    target_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.25,
        description="share of every batch that has labels of the target itself; the rest has those "
        "of the closed form",
    )
    learning_rate: Positive = 1.5e-3
    batch_size: Count = 40
    budget: BudgetConfig = BudgetConfig(steps=4000, validate_every=500)
