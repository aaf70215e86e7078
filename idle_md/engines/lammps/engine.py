"""LAMMPS as an engine, by mode and MPI ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import ase

from idle_md.deploy import DeployedModel
from idle_md.engines.choices import Mode
from idle_md.engines.engine import Evaluate
from idle_md.engines.lammps import process
from idle_md.engines.lammps.single_point import evaluate_each
from idle_md.engines.results import LeftOut, Prediction

MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class LammpsEngine:
    """LAMMPS, see :class:`~idle_md.engines.engine.Engine`.

    Attributes
    ----------
    mode
        ``"fold"``, ``"ghost"`` or ``"local"``, see ``docs/engines/lammps.md``; None leaves the
        choice to the plugin.
    ranks
        MPI ranks; one runs in this process.
    device
        Where the model runs; several ranks share it.
    """

    mode: Mode | None
    ranks: int = 1
    device: str = "cpu"

    @property
    def name(self) -> str:
        """LAMMPS, its mode and how many ranks."""
        return (
            f"LAMMPS, {self.mode or 'its choice'}, {self.ranks} rank{'s' if self.ranks > 1 else ''}"
        )

    def why_not(self, model: DeployedModel | None = None) -> str | None:
        """Return what is missing, or why the mode is not for the model."""
        if process.why_not() is not None:
            return process.why_not()
        if self.mode == "fold" and self.ranks > 1:
            return "mode fold is for one rank: use ghost"
        if self.mode == "local" and model is not None and model.metadata.interactions > 1:
            return "mode local is for models without message passing: use ghost"
        return None

    def evaluator(self, path: str | Path) -> Evaluate:
        """Return what evaluates structures of any periodicity that LAMMPS does not refuse."""

        def evaluate(structures: Sequence[ase.Atoms]) -> list[Prediction | LeftOut]:
            return [
                each if isinstance(each, Prediction) else LeftOut(f"refused: {each}")
                for each in evaluate_each(
                    path, structures, self.mode, self.ranks, device=self.device
                )
            ]

        return evaluate
