"""What happens around the steps: validation, the best checkpoint, the log, the progress display."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console
from torch import Tensor

from idle_md.files import replacing
from idle_md.nn import save_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.fit.module import FitModule
from idle_md.units import GPA

Row = dict[str, float]


def moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Return an exponential moving average that forgets the initial weights quickly.

    The decay after n averages is ``min(decay, (1 + n) / (10 + n))``.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        weight = 1.0 - min(decay, (1.0 + int(count)) / (10.0 + int(count)))
        torch._foreach_lerp_(averaged, current, weight)

    return update


class Validation(lightning.Callback):
    """Validates the averaged weights and keeps the best of them.

    Must come before the weight averaging in the list of callbacks, because the averaged weights are
    only in the module until that callback takes them out again.

    Parameters
    ----------
    folder
        The run folder.
    metadata
        Stored beside the weights.
    """

    def __init__(self, folder: RunFolder, metadata: Mapping[str, Any]) -> None:
        self.folder = folder
        self.metadata = dict(metadata)
        self.best = float("inf")
        self.row: Row = {}
        self._errors: list[dict[str, Tensor]] = []

    def on_validation_epoch_start(self, *_: Any) -> None:
        self._errors = []

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._errors.append(outputs)

    def on_validation_epoch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        assert isinstance(module, FitModule)
        joined = {key: torch.cat([e[key] for e in self._errors]) for key in self._errors[0]}
        means = {key: _mean_of_all(value) for key, value in joined.items()}
        target = {key: float(mean[-1]) for key, mean in means.items()}
        score = module.score(target["per_atom"], target["forces"], target["virials_per_atom"])
        self.row = {"step": trainer.global_step, "seconds": module.seconds, "score": score}
        for column, fidelity in enumerate(module.potential.fidelities):
            self.row[f"{fidelity}_energy_mae_mev"] = 1e3 * float(means["energy"][column])
            self.row[f"{fidelity}_force_mae_mev_per_angstrom"] = 1e3 * float(
                means["forces"][column]
            )
            if not bool(means["stress"][column].isnan()):
                self.row[f"{fidelity}_stress_mae_gpa"] = float(means["stress"][column]) / GPA
        self.row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        module.log("score", score)
        if score < self.best:
            self.best = score
            if trainer.is_global_zero:
                validation = {"step": trainer.global_step, "score": score}
                metadata = {**self.metadata, "validation": validation}
                save_checkpoint(self.folder.best_checkpoint, module.potential, metadata)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


def _mean_of_all(errors: Tensor) -> Tensor:
    """Mean over the rows (n, k) of all processes, without those that are NaN."""
    sums = processes.total(torch.stack([errors.nansum(0), (~errors.isnan()).sum(0)]))
    mean: Tensor = sums[0] / sums[1]
    return mean


class Log(lightning.Callback):
    """Writes a row per validation to the log of the run folder and to the terminal.

    Parameters
    ----------
    folder
        The run folder.
    validation
        Where the rows come from.
    console
        Where to print; None for silence.
    """

    def __init__(self, folder: RunFolder, validation: Validation, console: Console | None) -> None:
        self.path = folder.log_file
        self.validation = validation
        self.console = console

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Drop rows that a killed run wrote after the checkpoint that is resumed from."""
        kept = [r for r in read_log(self.path) if r["step"] <= trainer.global_step]
        with replacing(self.path) as temporary, temporary.open("w", newline="") as file:
            if kept:
                writer = csv.DictWriter(file, list(kept[0]))
                writer.writeheader()
                writer.writerows(kept)

    def on_validation_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        row = self.validation.row
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        if self.console is not None:
            assert isinstance(module, FitModule)
            self.console.print(self._line(row, module))

    def _line(self, row: Row, module: FitModule) -> str:
        parts = [f"{module.progress:5.0%}  step {row['step']:>7.0f}  {row['seconds']:6.0f} s"]
        if module.progress > 0:
            parts.append(f"{row['seconds'] * (1 / module.progress - 1):6.0f} s left")
        for fidelity in module.potential.fidelities:
            energy = row[f"{fidelity}_energy_mae_mev"]
            force = row[f"{fidelity}_force_mae_mev_per_angstrom"]
            shown = [] if energy != energy else [f"E {energy:7.1f} meV"]
            shown += [] if force != force else [f"F {force:6.1f} meV/Å"]
            stress = row.get(f"{fidelity}_stress_mae_gpa")
            shown += [] if stress is None else [f"S {stress:7.4f} GPa"]
            parts.append("  ".join([fidelity, *shown]))
        if row["score"] == self.validation.best:
            parts.append("best")
        return "  |  ".join(parts)


def read_log(path: Path) -> list[Row]:
    """Return the rows of a run folder's log, or none if there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
