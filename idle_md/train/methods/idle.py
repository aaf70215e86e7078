"""``idle``: Implicit Delta Learning, all fidelities trained jointly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from idle_md.configuration import Weight
from idle_md.data import GeometryTensors
from idle_md.run_folder import RunFolder
from idle_md.train.config import Method, TrainConfig
from idle_md.train.methods.parts import on_target
from idle_md.train.sections import BudgetConfig, FinetuneConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.finetune import Finetune
from idle_md.train.stages.fit import Fit
from idle_md.train.stages.source import Pretraining, Trained
from idle_md.train.stages.weight import CANDIDATES, WeightChoice
from idle_md.train.task import has_energies, has_forces

SHARE = 0.15  # of the budget, for each candidate of the low-level weight


class Idle(Method):
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

    def fidelities(self, config: TrainConfig) -> list[str]:
        return [f for f in config.labels if f != config.target] + [config.target]

    def pretraining(self, config: TrainConfig) -> TrainConfig | None:
        if self.finetune is None:
            return None
        return _joint(config, self, RunFolder(config.out).pretraining)

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        if self.low_level_weight == "auto":
            trials = {weight: self._trial(config, folder, weight) for weight in CANDIDATES}
            return [WeightChoice(folder, trials, lambda w: self._weighted(config, folder, w))]
        if self.finetune is not None:
            joint = _joint(config, self, folder.pretraining)
            alone = on_target(config, self.finetune)
            return [Pretraining(joint), Finetune(alone, folder, config.target, self.finetune)]
        start = [Trained(self.start, config.fidelities)] if self.start else []
        return [*start, Fit(config, folder)]

    def corrections(self, config: TrainConfig, tensors: GeometryTensors) -> Mapping[str, str]:
        low = self._low_level(config, tensors)
        return {config.target: low} if low is not None and self.head == "correction" else {}

    def pairs(self, config: TrainConfig, tensors: GeometryTensors) -> Mapping[str, str]:
        low = self._low_level(config, tensors)
        return {config.target: low} if low is not None and self.paired else {}

    def weight(self, config: TrainConfig, fidelity: str) -> float:
        if fidelity == config.target:
            return 1.0
        if self.low_level_weight == "auto":
            raise ValueError("method.low_level_weight is auto: only `train` can choose it")
        return self.low_level_weight

    def with_weight(self, weight: float) -> "Idle":
        """Return the method with a factor on the loss of every fidelity but the target."""
        return self.model_copy(update={"low_level_weight": weight})

    def _weighted(self, config: TrainConfig, folder: RunFolder, weight: float) -> list[Stage]:
        method = self.with_weight(weight)
        return method.stages(config.model_copy(update={"method": method}), folder)

    def _trial(self, config: TrainConfig, folder: RunFolder, weight: float) -> TrainConfig:
        budget = config.budget
        short = BudgetConfig(
            steps=budget.steps and max(1, round(SHARE * budget.steps)),
            minutes=budget.minutes and SHARE * budget.minutes,
            validate_every=max(1, round(SHARE * budget.validate_every)),
            max_validation=budget.max_validation,
        )
        joint = _joint(config, self.with_weight(weight), folder.trial(weight))
        return joint.model_copy(update={"budget": short})

    def _low_level(self, config: TrainConfig, tensors: GeometryTensors) -> str | None:
        """Return the fidelity that the target is learned as a difference to, if there is one.

        Raises
        ------
        ValueError
            If the configuration names one that is not trained, or a correction head has no
            geometry that is labelled at both levels.
        """
        names = config.fidelities
        if len(names) == 1:
            return None
        n_energies, n_forces = has_energies(tensors).sum(0), has_forces(tensors).sum(0)
        counts = {f: (int(n_energies[k]), int(n_forces[k])) for k, f in enumerate(names[:-1])}
        low = self.low_level or max(counts, key=lambda f: counts[f])
        if low not in counts:
            raise ValueError(
                f"method.low_level is {low!r}: the fidelities below {config.target!r} are "
                + ", ".join(names[:-1])
            )
        both = has_energies(tensors)[:, [names.index(low), -1]].all(1)
        if self.head == "correction" and counts[low][0] and not bool(both.any()):
            raise ValueError(
                f"no geometry has both a {low!r} and a {config.target!r} energy, which a "
                "correction head needs: set method.head=independent"
            )
        return low


def _joint(config: TrainConfig, method: Idle, folder: RunFolder) -> TrainConfig:
    """Return a joint training in a subfolder, without what follows it."""
    alone = method.model_copy(update={"finetune": None})
    return config.model_copy(update={"out": folder.path, "method": alone})
