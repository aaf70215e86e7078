"""The training configuration: one YAML file, checked before anything runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from idle_md.configuration import Positive, Section, Weight, explain
from idle_md.nn import BackboneSection, PaiNN, backbone_class
from idle_md.train.method import AdaptConfig, IdleConfig, Method
from idle_md.train.sections import BudgetConfig

Label = Literal["energy", "forces"]


class SplitConfig(Section):
    """How geometries are divided, over all fidelities at once; roles in the store come first."""

    by: Literal["geometry", "group"] = "geometry"
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.05
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 0


class DataConfig(Section):
    """Where labels come from and how many of them may be used."""

    store: str = Field(description="name of a shipped data set, .h5 store or .extxyz[.gz] file")
    split: SplitConfig = SplitConfig()
    budgets: dict[str, Annotated[int, Field(gt=0)]] = Field(
        default={},
        description="labelled geometries of a fidelity, training and validation together, drawn "
        "evenly over the groups; without an entry all are used",
    )
    budget_validation: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1, description="share of a budget that is kept for validation"
    )


class LossConfig(Section):
    """Weights of one fidelity's labels in the loss."""

    energy: Weight = 1.0
    forces: Weight = 1.0


class BatchConfig(Section):
    """Composition of a training batch."""

    size: Annotated[int, Field(gt=0)] = 40
    target_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, description="share of geometries with a target label, where others exist"
    )


class OptimizerConfig(Section):
    """AdamW, its schedule and the averaging of weights."""

    learning_rate: Positive = 2e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    schedule: Literal["cosine", "plateau"] = "cosine"
    plateau_patience: Annotated[int, Field(gt=0)] = Field(
        default=10, description="validations without improvement before the rate is halved"
    )
    correction_weight_decay: Weight = Field(
        default=1.0, description="decoupled weight decay on correction heads alone"
    )
    gradient_clip: Positive = 10.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998


class TrainConfig(Section):
    """Everything that ``idle-md train`` needs."""

    out: Path
    target: str = Field(description="fidelity that the exported model will have")
    labels: dict[str, list[Label]] = Field(description="which labels of which fidelity to use")
    data: DataConfig
    method: Method = IdleConfig()
    backbone: SerializeAsAny[BackboneSection] = PaiNN.Config()
    head_hidden: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="width of the heads' hidden layer, 0 for linear heads; default: 32 for painn, "
        "0 for hipnn and gmnn",
    )
    loss: dict[str, LossConfig] = Field(default={}, description="weights by fidelity")
    batch: BatchConfig = BatchConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    budget: BudgetConfig = BudgetConfig()
    diagnose: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="seeds of a comparison with the target's labels alone afterwards; 0 for none",
    )
    ensemble: Annotated[int, Field(gt=0)] = Field(
        default=1, description="members of a committee, trained with the seeds that follow `seed`"
    )
    seed: int = 0
    threads: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="CPU threads; default: what PyTorch chooses"
    )
    compile: bool = Field(
        default=False,
        description="compile the model for training: twice the steps per second after a minute or "
        "two, which later runs save; painn and gmnn; needs a C++ compiler",
    )

    @field_validator("method", mode="before")
    @classmethod
    def _method_by_one_word(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("backbone", mode="before")
    @classmethod
    def _section_of_its_name(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return value
        value = {"name": "painn", **value}
        name = value["name"]
        section: Any = backbone_class(name).Config
        by_name: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, section])
        return by_name.validate_python({name: value})[name]  # so the place of an error has the name

    @field_validator("diagnose", mode="before")
    @classmethod
    def _three_seeds_by_default(cls, value: Any) -> Any:
        return {True: 3, False: 0}[value] if isinstance(value, bool) else value

    @field_validator("diagnose")
    @classmethod
    def _one_seed_has_no_interval(cls, value: int) -> int:
        if value == 1:
            raise ValueError("an interval needs two seeds or more")
        return value

    @model_validator(mode="after")
    def _backbone_compiles(self) -> "TrainConfig":
        if self.compile and not self.backbone.compiles:
            raise ValueError(
                f"compile: {self.backbone.name} cannot be compiled; leave it false, or use the "
                "backbone painn or gmnn"
            )
        return self

    @model_validator(mode="after")
    def _fidelities_agree(self) -> "TrainConfig":
        if self.target not in self.labels:
            raise ValueError(
                f"target {self.target!r} has no entry in labels: add "
                f"`{self.target}: [energy]` (there are {', '.join(self.labels)})"
            )
        named = dict.fromkeys(self.loss, "loss") | dict.fromkeys(self.data.budgets, "data.budgets")
        for name, where in named.items():
            if name not in self.labels:
                raise ValueError(f"{where} names {name!r}, which labels does not use")
        if "energy" not in self.labels[self.target]:
            raise ValueError(
                f"labels.{self.target} has no energy: without energies of the target its reference "
                "energies are unknown; add `energy`"
            )
        if isinstance(self.method, AdaptConfig):
            self._check_adapt()
        return self

    def _check_adapt(self) -> None:
        if "forces" in self.labels[self.target]:
            raise ValueError(
                f"method adapt is fitted to energies alone: set `{self.target}: [energy]`, or use "
                "idle or transfer, which take forces"
            )
        if self.diagnose:
            raise ValueError("diagnose compares validation errors, and adapt has none: remove it")

    @property
    def fidelities(self) -> list[str]:
        """Fidelities that one network is trained on, the target last."""
        if isinstance(self.method, IdleConfig):
            return [f for f in self.labels if f != self.target] + [self.target]
        if isinstance(self.method, AdaptConfig) and self.method.source in self.labels:
            return [self.method.source, self.target]
        return [self.target]

    @property
    def hidden_width(self) -> int:
        """Width of the heads' hidden layer; 0 for linear heads."""
        return self.backbone.head_hidden if self.head_hidden is None else self.head_hidden

    def loss_of(self, fidelity: str) -> LossConfig:
        """Return the loss weights of a fidelity."""
        return self.loss.get(fidelity, LossConfig())


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML configuration and apply ``key.sub=value`` overrides.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        For anything that is wrong in it, naming file, key and, for a misspelt key, the nearest.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no configuration at {path}")
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a mapping of keys such as `out`, `target` and `data`")
    for override in overrides:
        _apply_override(content, override)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], source: str = "configuration") -> TrainConfig:
    """Check a configuration given as plain values; errors name ``source`` and the key."""
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"{source}: {explain(error, TrainConfig)}") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"override {override!r} is not of the form key=value")
    *parents, last = key.split(".")
    for parent in parents:
        child = content.setdefault(parent, {})
        if isinstance(child, str) and parent in ("method", "backbone"):
            child = content[parent] = {"name": child}
        if not isinstance(child, dict):
            raise ValueError(f"override {override!r}: {parent!r} is not a section")
        content = child
    content[last] = yaml.safe_load(value)
