"""``transfer``: train on one fidelity, go on with the target."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from idle_md.run_folder import RunFolder
from idle_md.train.config import Method, TrainConfig
from idle_md.train.methods.parts import on_source, on_target
from idle_md.train.sections import FinetuneConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.finetune import Finetune
from idle_md.train.stages.source import Pretraining, TrainedLevel


class Transfer(Method):
    """Pre-train on one fidelity, fine-tune on the target with rates by parameter group."""

    name: Literal["transfer"] = "transfer"
    source: str = Field(description="fidelity to pre-train on")
    checkpoint: Path | None = Field(
        default=None, description="trained model to start from in place of a pre-training"
    )
    finetune: FinetuneConfig = FinetuneConfig()

    def fidelities(self, config: TrainConfig) -> list[str]:
        return [config.target]

    def pretraining(self, config: TrainConfig) -> TrainConfig | None:
        return None if self.checkpoint else on_source(config, self.source)

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        if self.checkpoint:
            start: Stage = TrainedLevel(self.checkpoint, self.source)
        else:
            start = Pretraining(on_source(config, self.source))
        alone = on_target(config, self.finetune)
        return [start, Finetune(alone, folder, self.source, self.finetune)]
