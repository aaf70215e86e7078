"""``adapt``: a new fidelity for a trained model, in closed form on its frozen backbone."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from idle_md.configuration import Count
from idle_md.data import load
from idle_md.nn import load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train.config import Method, TrainConfig, parse_config
from idle_md.train.methods.parts import on_source
from idle_md.train.stage import Stage
from idle_md.train.stages.closed_form import ClosedForm
from idle_md.train.stages.source import Pretraining, Trained


class Adapt(Method):
    """A trained model gets the target as a new fidelity in closed form, its backbone frozen."""

    name: Literal["adapt"] = "adapt"
    source: str = Field(description="fidelity of the trained model that is corrected")
    checkpoint: Path | None = Field(
        default=None, description="trained model to start from in place of a pre-training"
    )
    steps: Count = Field(default=2000, description="steps of distilling the correction to a head")

    def check(self, config: TrainConfig) -> None:
        if "forces" in config.labels[config.target]:
            raise ValueError(
                "method adapt is fitted to energies alone: set "
                f"`{config.target}: [energy]`, or use idle or transfer, which take forces"
            )
        if config.diagnose:
            raise ValueError("diagnose compares validation errors, and adapt has none: remove it")

    def fidelities(self, config: TrainConfig) -> list[str]:
        used = [self.source] if self.source in config.labels else []
        return [*used, config.target]

    def pretraining(self, config: TrainConfig) -> TrainConfig | None:
        return None if self.checkpoint else on_source(config, self.source)

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        if self.checkpoint:
            start: Stage = Trained(self.checkpoint)
        else:
            start = Pretraining(on_source(config, self.source))
        return [start, ClosedForm(config, folder, self.source, self.steps)]


def adapt_config(
    checkpoint: Path,
    source: str,
    fidelity: str,
    out: Path,
    base: str | None = None,
    labels: int | None = None,
    seed: int = 0,
) -> TrainConfig:
    """Return the configuration of an adaptation of a checkpoint to a data set.

    Parameters
    ----------
    checkpoint
        Trained model; geometries that it was validated on are found by its own split.
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
    """
    _, about = load_checkpoint(checkpoint)
    base = base or str(about["target"])
    has_base = base in load(source).fidelities
    split = dict(about.get("config", {}).get("data", {}).get("split", {}))
    return parse_config(
        {
            "out": str(out),
            "target": fidelity,
            "labels": {**({base: ["energy"]} if has_base else {}), fidelity: ["energy"]},
            "data": {
                "store": source,
                "split": {**split, "seed": seed},
                "budgets": {} if labels is None else {fidelity: labels},
            },
            "method": {"name": "adapt", "source": base, "checkpoint": str(checkpoint)},
            "seed": seed,
        }
    )
