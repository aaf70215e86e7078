"""The Lightning module: training and validation steps, and when they end."""

import math
import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from idle_md.data import Batch, GeometryTensors
from idle_md.nn import Potential
from idle_md.train import processes
from idle_md.train.batches import BatchStream, Indices
from idle_md.train.fit.optimizer import Optimization
from idle_md.train.loss import FORCE_DELTA, Objective, residual_energies
from idle_md.train.prediction import predict
from idle_md.train.sections import BudgetConfig

VALIDATED_AT_ONCE = 64  # geometries


class Batches:
    """Geometries to train and to validate on.

    Parameters
    ----------
    tensors
        All geometries with their labels.
    stream
        Which of them make up training step k.
    validated
        Which of them are validated on.
    """

    def __init__(self, tensors: GeometryTensors, stream: BatchStream, validated: Indices) -> None:
        self.tensors = tensors
        self.stream = stream
        self.validated = validated

    def __deepcopy__(self, memo: dict[int, Any]) -> "Batches":
        return self  # weight averaging copies the module that holds them

    def training(self, first: int, last: int) -> DataLoader[Batch]:
        """Return this process's share of the batches of steps ``first`` to ``last``."""
        return DataLoader(_Training(self.tensors, self.stream, first, last), batch_size=None)

    def validation(self) -> DataLoader[Batch]:
        """Return this process's share of what is validated on, a few geometries at a time."""
        chunks = _Chunks(self.tensors, processes.share(self.validated), VALIDATED_AT_ONCE)
        return DataLoader(chunks, batch_size=None)


class _Training(Dataset[Batch]):
    """Training batches ``first`` to ``last`` of a stream, of each this process's share."""

    def __init__(
        self, tensors: GeometryTensors, stream: BatchStream, first: int, last: int
    ) -> None:
        self.tensors, self.stream, self.first, self.last = tensors, stream, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, number: int) -> Batch:
        return self.tensors.batch(processes.share(self.stream[self.first + number]))


class _Chunks(Dataset[Batch]):
    """Fixed geometries, a few at a time."""

    def __init__(self, tensors: GeometryTensors, indices: Indices, size: int) -> None:
        self.tensors, self.indices, self.size = tensors, indices, size

    def __len__(self) -> int:
        return math.ceil(len(self.indices) / self.size)

    def __getitem__(self, number: int) -> Batch:
        return self.tensors.batch(self.indices[number * self.size : (number + 1) * self.size])


class FitModule(lightning.LightningModule):
    """Fits a potential; an epoch is the steps between two validations.

    Parameters
    ----------
    potential
        What is fitted.
    objective
        Its loss.
    batches
        Geometries to train and to validate on.
    optimization
        Optimiser and schedule.
    budget
        When training ends, and how often it is validated.
    """

    def __init__(
        self,
        potential: Potential,
        objective: Objective,
        batches: Batches,
        optimization: Optimization,
        budget: BudgetConfig,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.objective = objective
        self.batches = batches
        self.optimization = optimization
        self.budget = budget
        self.seconds_before = self._seconds_of_all = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent fitting, over all resumed parts."""
        return self.seconds_before + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        steps, minutes = self.budget.steps, self.budget.minutes
        spent = 0.0 if steps is None else self.global_step / steps
        if minutes is not None:
            spent = max(spent, self._seconds_of_all / (60 * minutes))
        return min(spent, 1.0)

    @property
    def ending(self) -> str:
        """What ended the fit, in words."""
        budget = self.budget
        after = f"Ended after {self.global_step:,} steps"
        if self._minutes_are_over:
            return f"{after}: the {budget.minutes:g} minutes of budget.minutes are over"
        if self.global_step == budget.steps:
            return f"{after}, those of budget.steps"
        return f"{after}: no better in {budget.early_stopping} validations (budget.early_stopping)"

    @property
    def _minutes_are_over(self) -> bool:
        minutes = self.budget.minutes
        return minutes is not None and self._seconds_of_all > 60 * minutes

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds_before = self._seconds_of_all = checkpoint["seconds"]

    def configure_optimizers(self) -> Any:
        return self.optimization.of(self.potential, lambda: self.progress)

    def train_dataloader(self) -> DataLoader[Batch]:
        first = self.global_step
        last = first + self.budget.validate_every
        return self.batches.training(first, min(last, self.budget.steps or last))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.batches.validation()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        if self.budget.minutes is not None:
            self._seconds_of_all = processes.by_first(lambda: self.seconds)
        loss, _ = self.objective(self.potential, batch)
        if not bool(torch.isfinite(loss)):
            raise ValueError(
                f"the loss became {loss.item()} at step {self.global_step}: lower "
                "optimizer.learning_rate, or look for labels that are far off"
            )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, number: int) -> None:
        if self._minutes_are_over:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        """Return absolute errors, of forces (N, n_fidelities), of all else (B, n_fidelities)."""
        columns = self.objective.force_columns(batch), self.objective.stress_columns(batch)
        with torch.enable_grad():
            prediction = predict(self.potential, batch, *columns)
        energy = (prediction.energies - residual_energies(self.potential, batch)).detach().abs()
        forces = torch.full_like(batch.forces[:, :, 0], torch.nan)
        for column, predicted in prediction.forces.items():
            forces[:, column] = (predicted - batch.forces[:, column]).abs().mean(1)
        stress = torch.full_like(batch.stresses[:, :, 0], torch.nan)
        for column, predicted in prediction.stresses.items():
            stress[:, column] = (predicted - batch.stresses[:, column]).abs().mean(1)
        n_atoms = torch.bincount(batch.graph_index, minlength=batch.n_graphs)[:, None]
        virials = stress * (batch.volumes[:, None] / n_atoms)
        return {
            "energy": energy,
            "per_atom": energy / n_atoms,
            "forces": forces,
            "stress": stress,
            "virials_per_atom": virials,
        }

    def score(self, energy_per_atom: float, forces: float, virials_per_atom: float) -> float:
        """Return what early stopping and the best checkpoint go by, smaller is better.

        The target fidelity's validation error: energy per atom in meV, plus a tenth of that of
        forces in meV/angstrom and of virials per atom in meV where these are no NaN, that is, where
        the target has force or stress labels.
        """
        others = [each for each in (forces, virials_per_atom) if not math.isnan(each)]
        return 1e3 * (energy_per_atom + FORCE_DELTA * sum(others))
