"""``delta``: explicit delta learning, the difference of two levels."""

from typing import Literal

from pydantic import Field

from idle_md.data import Store
from idle_md.data.difference import difference
from idle_md.run_folder import RunFolder
from idle_md.train.config import Method, TrainConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.fit import Fit


class Delta(Method):
    """Explicit delta learning: the model is the target less a low level that runs live."""

    name: Literal["delta"] = "delta"
    low_level: str = Field(description="fidelity that is calculated live at inference")

    def check(self, config: TrainConfig) -> None:
        if self.low_level == config.target:
            raise ValueError(f"method.low_level and target are both {config.target!r}")

    def fidelities(self, config: TrainConfig) -> list[str]:
        return [config.target]

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        return [Fit(config, folder)]

    @property
    def takes_references(self) -> bool:
        return False

    @property
    def subtracted(self) -> str:
        return self.low_level

    def labels(self, config: TrainConfig, store: Store) -> Store:
        return difference(store, config.target, self.low_level)
