"""The training configuration: one YAML file, checked before anything runs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, TypeAdapter, field_validator, model_validator

from idle_md.configuration import Count, Section, parse_section, parse_yaml, read_settings
from idle_md.data import GeometryTensors, Store
from idle_md.elements import atomic_numbers
from idle_md.nn import BackboneSection, PaiNN, backbone_class
from idle_md.run_folder import RunFolder
from idle_md.train.registry import method_named
from idle_md.train.sections import (
    BatchConfig,
    BudgetConfig,
    DataConfig,
    LossConfig,
    OptimizerConfig,
)
from idle_md.train.stage import Stage

Label = Literal["energy", "forces", "stress"]
References = Literal["fit", "isolated"] | dict[str, float]
BY_ONE_WORD = ("method", "backbone")  # sections that their name alone may stand for


class Method(Section, ABC):
    """What is made of the labels of several fidelities: the ``method`` of a configuration.

    A method is told by its name, has its settings as fields, and says which network is trained on
    which labels (:meth:`fidelities` and what follows) and in which steps (:meth:`stages`). One of
    another package is found by an entry point of the group ``idle_md.methods``.
    """

    name: str

    def check(self, config: "TrainConfig") -> None:
        """Check what the rest of the configuration says.

        Raises
        ------
        ValueError
            If it does not suit the method.
        """

    @abstractmethod
    def fidelities(self, config: "TrainConfig") -> list[str]:
        """Return the fidelities that one network is trained on, the target last."""

    @abstractmethod
    def stages(self, config: "TrainConfig", folder: RunFolder) -> list[Stage]:
        """Return what is done one after the other in a run folder.

        Raises
        ------
        ValueError
            If the configuration lacks labels that a stage needs.
        """

    def pretraining(self, config: "TrainConfig") -> "TrainConfig | None":
        """Return the training in a subfolder that the stages begin with, if they do."""
        return None

    @property
    def validates_target(self) -> bool:
        """Whether some of the target's labels are kept for validation."""
        return True

    @property
    def needs_energies(self) -> bool:
        """Whether the target must have energies, because nothing else tells its constants."""
        return True

    @property
    def takes_references(self) -> bool:
        """Whether the target's reference energies may be other than fitted."""
        return True

    @property
    def uses_stress(self) -> bool:
        """Whether the target's stresses may be trained on."""
        return True

    @property
    def subtracted(self) -> str | None:
        """Fidelity that is taken off the target's labels and runs live at inference, if any."""
        return None

    def labels(self, config: "TrainConfig", store: Store) -> Store:
        """Return a store with the labels to learn."""
        return store

    def corrections(self, config: "TrainConfig", tensors: GeometryTensors) -> Mapping[str, str]:
        """Return which fidelity's head is trained as a correction on which, ``{high: low}``."""
        return {}

    def pairs(self, config: "TrainConfig", tensors: GeometryTensors) -> Mapping[str, str]:
        """Return whose energies are learned as differences where both are labelled, likewise."""
        return {}

    def of_member(self) -> "Method":
        """Return the method of one member of a committee, which differ in their seeds."""
        return self

    def weight(self, config: "TrainConfig", fidelity: str) -> float:
        """Return the factor on the loss of a fidelity."""
        return 1.0


class TrainConfig(Section):
    """Everything that ``idle-md train`` needs."""

    out: Path
    target: str = Field(description="fidelity that the exported model will have")
    labels: dict[str, list[Label]] = Field(description="which labels of which fidelity to use")
    data: DataConfig
    method: SerializeAsAny[Method] = Field(default="idle", validate_default=True)
    backbone: SerializeAsAny[BackboneSection] = PaiNN.Config()
    reference_energies: References | dict[str, References] = Field(
        default="fit",
        description="energies of the elements' lone atoms, for all fidelities or by fidelity: fit "
        "(least squares on the labels), isolated (one-atom geometries of the data set, or what its "
        "manifest has), or numbers in eV, {H: -13.6}; with the last two the model's lone atoms "
        "have these energies exactly",
    )
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
    ensemble: Count = Field(
        default=1, description="members of a committee, trained with the seeds that follow `seed`"
    )
    seed: int = 0
    device: str | None = Field(
        default=None,
        description="cpu, cuda, or cuda:1 of several GPUs; default: a GPU where torch sees one",
    )
    threads: Count | None = Field(
        default=None, description="CPU threads; default: what PyTorch chooses"
    )
    compile: bool = Field(
        default=False,
        description="compile the model for training: twice the steps per second after a minute or "
        "two, which later runs save; painn and gmnn; needs a C++ compiler",
    )

    @field_validator("method", mode="before")
    @classmethod
    def _method_by_name(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return value
        if "name" not in value:
            raise ValueError("name is missing: say which method, such as `name: idle`")
        return _of_kind(method_named(str(value["name"])), value)

    @field_validator("backbone", mode="before")
    @classmethod
    def _backbone_by_name(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if not isinstance(value, dict):
            return value
        value = {"name": "painn", **value}
        return _of_kind(backbone_class(value["name"]).Config, value)

    @field_validator("reference_energies", mode="before")
    @classmethod
    def _references_are_known(cls, value: Any) -> Any:
        for each in value.values() if isinstance(value, dict) else [value]:
            numbers = each.values() if isinstance(each, dict) else [each]
            if not all(n in ("fit", "isolated") or _is_number(n) for n in numbers):
                raise ValueError(
                    f"{each!r} is none of fit, isolated and numbers in eV by element, "
                    "{H: -13.6, O: -2041.8}"
                )
        return value

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
        if self.method.needs_energies and "energy" not in self.labels[self.target]:
            raise ValueError(
                f"labels.{self.target} has no energy: without energies of the target its reference "
                "energies are unknown; add `energy`"
            )
        if "stress" in self.labels[self.target] and not self.method.uses_stress:
            raise ValueError(
                f"labels.{self.target}: the method {self.method.name} uses energies and forces of "
                "the target and no stress: remove `stress`, or choose another method"
            )
        self._check_references()
        self.method.check(self)
        return self

    def _check_references(self) -> None:
        by_level = self.reference_energies
        if isinstance(by_level, dict) and not all(isinstance(e, float) for e in by_level.values()):
            strange = [name for name in by_level if name not in self.labels]
            if strange:
                raise ValueError(
                    f"reference_energies names {strange[0]!r}, which labels does not use"
                )
        for fidelity in self.labels:
            references = self.references_of(fidelity)
            if isinstance(references, dict):
                atomic_numbers(references)
        if self.references_of(self.target) != "fit" and not self.method.takes_references:
            raise ValueError(
                f"reference_energies: the method {self.method.name} fits those of its target "
                f"{self.target!r}: leave them out, or give those of other fidelities by name"
            )

    @property
    def fidelities(self) -> list[str]:
        """Fidelities that one network is trained on, the target last."""
        return self.method.fidelities(self)

    @property
    def hidden_width(self) -> int:
        """Width of the heads' hidden layer; 0 for linear heads."""
        return self.backbone.head_hidden if self.head_hidden is None else self.head_hidden

    def references_of(self, fidelity: str) -> References:
        """Return where the reference energies of a fidelity come from."""
        given = self.reference_energies
        if isinstance(given, str) or all(isinstance(each, float) for each in given.values()):
            return given  # type: ignore[return-value]
        found: References = given.get(fidelity, "fit")  # type: ignore[assignment]
        return found

    def loss_of(self, fidelity: str) -> LossConfig:
        """Return the loss weights of a fidelity."""
        return self.loss.get(fidelity, LossConfig())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_kind(kind: type[Section], settings: dict[str, Any]) -> Any:
    """Return a section of that kind; what is wrong in it is told with its name."""
    name = settings["name"]
    sections = TypeAdapter(dict[str, kind])  # type: ignore[valid-type]
    return sections.validate_python({name: settings})[name]


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a YAML configuration and apply ``key.sub=value`` overrides.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        For anything that is wrong in it, naming file, key and, for a misspelt key, the nearest.
    """
    content = read_settings(path, TrainConfig)
    for override in overrides:
        _apply_override(content, override)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], source: str = "configuration") -> TrainConfig:
    """Check a configuration given as plain values; errors name ``source`` and the key."""
    return parse_section(content, TrainConfig, source)


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"override {override!r} is not of the form key=value")
    *parents, last = key.split(".")
    for parent in parents:
        child = content.setdefault(parent, {})
        if isinstance(child, str) and parent in BY_ONE_WORD:
            child = content[parent] = {"name": child}
        if not isinstance(child, dict):
            raise ValueError(f"override {override!r}: {parent!r} is not a section")
        content = child
    try:
        content[last] = parse_yaml(value)
    except ValueError as error:
        raise ValueError(f"override {override!r}: {error}") from error
