"""``single``: the labels of the target alone."""

from typing import Literal

from idle_md.run_folder import RunFolder
from idle_md.train.config import Method, TrainConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.fit import Fit


class Single(Method):
    """Labels of the target fidelity alone."""

    name: Literal["single"] = "single"

    def fidelities(self, config: TrainConfig) -> list[str]:
        return [config.target]

    def stages(self, config: TrainConfig, folder: RunFolder) -> list[Stage]:
        return [Fit(config, folder)]
