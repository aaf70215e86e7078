"""The Lightning module: optimiser, schedule and steps."""

import math
import time
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset

from idle_md.data import Batch, GeometryTensors
from idle_md.nn.parameter_groups import optimizer_groups
from idle_md.train import processes
from idle_md.train.batches import BatchStream, Indices
from idle_md.train.loss import FORCE_DELTA, predict, residual_energies
from idle_md.train.task import Task


class _Batches(Dataset[Batch]):
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
    """Fits a task's potential; an epoch is the steps between two validations.

    Parameters
    ----------
    task
        What to fit.
    validation
        Geometries to validate on.
    """

    def __init__(self, task: Task, validation: Indices) -> None:
        super().__init__()
        self.potential = task.potential
        # Not attributes of the module: a copy of it (weight averaging) must not copy the data.
        self._context = _Context(task, validation)
        self.seconds_before = self._seconds_of_all = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent fitting, over all resumed parts."""
        return self.seconds_before + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        budget = self._context.task.config.budget
        spent = self.global_step / budget.steps
        if budget.minutes is not None:
            spent = max(spent, self._seconds_of_all / (60 * budget.minutes))
        return min(spent, 1.0)

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seconds_before = self._seconds_of_all = checkpoint["seconds"]

    def configure_optimizers(self) -> Any:
        settings = self._context.task.config.optimizer
        decay, rates = settings.correction_weight_decay, self._context.task.rates
        groups = optimizer_groups(self.potential, rates, settings.learning_rate, decay)
        optimizer = torch.optim.AdamW(groups, fused=True)
        if settings.schedule == "plateau":
            plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.plateau_patience)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "score", "interval": "epoch"},
            }

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (settings.warmup_steps + 1))
            return warm * 0.5 * (1.0 + math.cos(math.pi * self.progress))

        cosine = LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": cosine, "interval": "step"},
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        budget, first = self._context.task.config.budget, self.global_step
        last = min(first + budget.validate_every, budget.steps)
        task = self._context.task
        return DataLoader(_Batches(task.tensors, task.stream, first, last), batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        task = self._context.task
        chunks = _Chunks(task.tensors, processes.share(self._context.validation), size=64)
        return DataLoader(chunks, batch_size=None)

    def training_step(self, batch: Batch, number: int) -> Tensor:
        if self._context.task.config.budget.minutes is not None:
            self._seconds_of_all = processes.by_first(lambda: self.seconds)
        loss, _ = self._context.task.objective(self.potential, batch)
        if not bool(torch.isfinite(loss)):
            raise ValueError(
                f"the loss became {loss.item()} at step {self.global_step}: lower "
                "optimizer.learning_rate, or look for labels that are far off"
            )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, number: int) -> None:
        minutes = self._context.task.config.budget.minutes
        if minutes is not None and self._seconds_of_all > 60 * minutes:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, number: int) -> dict[str, Tensor]:
        """Return absolute errors: energies (B, n_fidelities), forces (N, n_fidelities)."""
        columns = self._context.task.objective.force_columns(batch)
        with torch.enable_grad():
            prediction = predict(self.potential, batch, columns)
        energy = (prediction.energies - residual_energies(self.potential, batch)).detach().abs()
        forces = torch.full_like(batch.forces[:, :, 0], torch.nan)
        for column, predicted in prediction.forces.items():
            forces[:, column] = (predicted - batch.forces[:, column]).abs().mean(1)
        n_atoms = torch.bincount(batch.graph_index, minlength=batch.n_graphs)
        return {"energy": energy, "per_atom": energy / n_atoms[:, None], "forces": forces}

    def score(self, energy_per_atom: float, forces: float | None) -> float:
        """Return what early stopping and the best checkpoint go by, smaller is better.

        The target fidelity's validation error: energy per atom in meV, plus forces in
        meV/angstrom divided by ten where the target has force labels.
        """
        return 1e3 * (energy_per_atom + (0.0 if forces is None else FORCE_DELTA * forces))


class _Context:
    """Holds what the module uses but does not own; deep copies share it."""

    def __init__(self, task: Task, validation: Indices) -> None:
        self.task = task
        self.validation = validation

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Context":
        return self
