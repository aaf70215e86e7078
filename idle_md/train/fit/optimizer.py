"""The optimiser and the schedule of its learning rate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from idle_md.nn import Potential
from idle_md.nn.parameter_groups import EMBEDDING, optimizer_groups, parameter_groups
from idle_md.train.fit.muon import Muon
from idle_md.train.sections import OptimizerConfig


@dataclass(frozen=True)
class Optimization:
    """How parameters are changed.

    Attributes
    ----------
    settings
        Algorithm, schedule, and weight decay.
    rates
        Factors on the learning rate by parameter group, 1 where not named.
    """

    settings: OptimizerConfig
    rates: Mapping[str, float]

    def of(self, potential: Potential, progress: Callable[[], float]) -> dict[str, Any]:
        """Return optimiser and schedule in the form of ``configure_optimizers`` of Lightning.

        Parameters
        ----------
        potential
            What is optimised.
        progress
            Gives the share of the budget that is spent, 0 to 1.
        """
        settings = self.settings
        decay, rate = settings.correction_weight_decay, settings.learning_rate
        groups = optimizer_groups(potential, self.rates, rate, decay)
        if (settings.algorithm or potential.backbone.config.algorithm) == "muon":
            tables = parameter_groups(potential).get(EMBEDDING, [])
            optimizer: torch.optim.AdamW = Muon(groups, tables)
        else:
            optimizer = torch.optim.AdamW(groups, fused=True)
        if settings.schedule == "plateau":
            plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.plateau_patience)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "score", "interval": "epoch"},
            }

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
            return warm * 0.5 * (1.0 + math.cos(math.pi * progress()))

        cosine = LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": cosine, "interval": "step"},
        }
