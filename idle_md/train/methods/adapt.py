"""``adapt``: a new fidelity for a trained model, in closed form, learned by the whole network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from idle_md.data import Store, load
from idle_md.nn import load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train.config import Label, Method, TrainConfig, parse_config
from idle_md.train.methods.parts import on_source, on_target
from idle_md.train.methods.transfer import Transfer
from idle_md.train.prediction import has_compiler
from idle_md.train.sections import FinetuneConfig, RefineConfig, StudentConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.closed_form import ClosedForm
from idle_md.train.stages.source import Pretraining, TrainedLevel


class Adapt(Method):
    """A trained model gets the target in closed form, and learns what it says."""

    name: Literal["adapt"] = "adapt"
    source: str = Field(description="fidelity of the trained model that is corrected")
    checkpoint: Path | None = Field(
        default=None, description="trained model to start from in place of a pre-training"
    )
    refine: RefineConfig | None = Field(
        default=None,
        description="first train the model on with the data set's own labels of that fidelity",
    )
    student: StudentConfig = StudentConfig()

    def check(self, config: TrainConfig) -> None:
        if config.diagnose:
            raise ValueError("diagnose compares validation errors, and adapt has none: remove it")

    def fidelities(self, config: TrainConfig) -> list[str]:
        used = [self.source] if self.source in config.labels else []
        return [*used, config.target]

    @property
    def validates_target(self) -> bool:
        return False

    @property
    def needs_energies(self) -> bool:
        return False

    @property
    def takes_references(self) -> bool:
        return False

    @property
    def uses_stress(self) -> bool:
        return False

    def of_member(self) -> "Adapt":
        student = self.student.model_copy(update={"drawn": True})
        return self.model_copy(update={"student": student})

    def pretraining(self, config: TrainConfig) -> TrainConfig | None:
        return None if self.checkpoint else on_source(config, self.source)

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        if self.checkpoint:
            start: Stage = TrainedLevel(self.checkpoint, self.source)
        else:
            start = Pretraining(on_source(config, self.source))
        trained = self.checkpoint or folder.pretraining.best_checkpoint
        model, refined_from, stages = trained, None, [start]
        if self.refine is not None:
            stages.append(Pretraining(_refining(config, self.source, trained, self.refine)))
            model, refined_from = folder.refinement.best_checkpoint, trained
        labels: dict[str, list[Label]] = {config.target: ["energy", "forces"]}
        student = on_target(config, self.student)
        share = {"target_share": self.student.target_share}
        batch = student.batch.model_copy(update=share)
        student = student.model_copy(update={"labels": labels, "batch": batch})
        closed_form = ClosedForm(
            config, folder, model, refined_from, self.source, student, self.student
        )
        return [*stages, closed_form]


def _refining(
    config: TrainConfig, source: str, checkpoint: Path, settings: RefineConfig
) -> TrainConfig:
    """Return a training in a subfolder of a trained model, on its own level's labels.

    Raises
    ------
    ValueError
        If that level has no energies among the labels.
    """
    finetune = FinetuneConfig(
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        budget=settings.budget,
    )
    share = {"target_share": 0.5 if settings.replay else config.batch.target_share}
    alone = on_source(config, source)
    return alone.model_copy(
        update={
            "out": RunFolder(config.out).refinement.path,
            "method": Transfer(source=source, checkpoint=checkpoint, finetune=finetune),
            "data": alone.data.model_copy(update={"replay": settings.replay}),
            "batch": alone.batch.model_copy(update=share),
        }
    )


def adapt_config(
    checkpoint: Path,
    source: str,
    fidelity: str,
    out: Path,
    base: str | None = None,
    labels: int | None = None,
    seed: int = 0,
    student: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Return the configuration of an adaptation of a checkpoint to a data set.

    Parameters
    ----------
    checkpoint
        Trained model, or the name of a shipped one. On the data set that it was trained on,
        geometries are validated on as they were. A level that it was adapted to before is made
        anew.
    source, fidelity
        Data set, see :func:`idle_md.data.load`, and the new fidelity as it is called there.
    out
        Run folder.
    base
        Fidelity of the model that is corrected; by default its target.
    labels
        How many to draw, evenly over the groups; all that may be trained on by default.
    seed
        Of that draw.
    student
        Settings of the student's training that are not the defaults.
    """
    potential, about = load_checkpoint(checkpoint)
    base = base or str(about["target"])
    store = load(source)
    data = about.get("config", {}).get("data", {})
    is_same = "store" in data and Path(data["store"]).resolve() == Path(source).resolve()
    split = dict(data.get("split", {})) if is_same else {}
    return parse_config(
        {
            "out": str(out),
            "target": fidelity,
            "labels": {
                **({base: _kinds(store, base)} if base in store.fidelities else {}),
                fidelity: _kinds(store, fidelity),
            },
            "data": {
                "store": source,
                "split": {**split, "seed": seed},
                "budgets": {} if labels is None else {fidelity: labels},
            },
            "method": {
                "name": "adapt",
                "source": base,
                "checkpoint": str(checkpoint),
                "student": dict(student or {}),
            },
            "backbone": potential.backbone.config.model_dump(),
            "compile": potential.backbone.config.compiles and has_compiler(),
            "seed": seed,
        }
    )


def _kinds(store: Store, fidelity: str) -> list[str]:
    """Return which labels of a fidelity there are; raise for one that the store does not have."""
    has = {"energy": store.has_energy(fidelity), "forces": store.has_forces(fidelity)}
    return [kind for kind, there in has.items() if there.any()]
