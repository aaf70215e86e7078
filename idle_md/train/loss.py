"""Masked multi-fidelity loss of energies, forces and stresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from idle_md.data import Batch
from idle_md.edge_contract import sum_by_system
from idle_md.nn import Potential
from idle_md.train import processes
from idle_md.train.prediction import predict

ENERGY_DELTA = 0.05  # eV / sqrt(atom): below it the loss is quadratic, above it linear
FORCE_DELTA = 0.1  # eV / angstrom
VIRIAL_DELTA = 0.2  # eV / sqrt(atom)


def residual_energies(potential: Potential, batch: Batch) -> Tensor:
    """Return label energies (B, n_fidelities) less the reference energies, NaN where missing."""
    reference = potential.reference_energies[batch.species]
    total = sum_by_system(reference, batch.graph_index, batch.n_graphs)
    return (batch.energies - total).to(batch.positions.dtype)


class Weights(NamedTuple):
    """Weights of the kinds of labels of one fidelity."""

    energy: float
    forces: float
    stress: float = 0.0


@dataclass(frozen=True)
class Objective:
    """Sum over fidelities of Huber losses of energies, forces and stresses.

    Energies enter per square root of the number of atoms, so that small and large molecules weigh
    alike; so do stresses times volume, which are the energy's derivatives by strain. Labels that
    are missing contribute nothing, and a batch without any label of a kind contributes zero for it.

    Parameters
    ----------
    weights
        By column.
    paired
        ``{column: base column}``: where both energies are labelled, the difference of the two
        predictions is supervised in place of the column's own energy.
    compiled
        Whether to compile the model for training.
    """

    weights: Mapping[int, Weights]
    paired: Mapping[int, int]
    compiled: bool = False

    def force_columns(self, batch: Batch) -> list[int]:
        """Return the columns that have a weighted force label in the batch."""
        return [
            column
            for column, weights in self.weights.items()
            if weights.forces > 0 and not bool(torch.isnan(batch.forces[:, column, 0]).all())
        ]

    def stress_columns(self, batch: Batch) -> list[int]:
        """Return the columns that have a weighted stress label in the batch."""
        return [
            column
            for column, weights in self.weights.items()
            if weights.stress > 0 and not bool(torch.isnan(batch.stresses[:, column, 0]).all())
        ]

    def __call__(
        self, potential: Potential, batch: Batch, create_graph: bool = True
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the loss and its part by output column.

        With several processes, the mean of what they return is the loss over all their labels.
        """
        columns = self.force_columns(batch), self.stress_columns(batch)
        prediction = predict(potential, batch, *columns, create_graph, self.compiled)
        labels = residual_energies(potential, batch)
        energies = prediction.energies.to(labels.dtype)
        n_atoms = torch.bincount(batch.graph_index, minlength=batch.n_graphs)
        root = n_atoms.to(labels.dtype).sqrt()
        to_virials = (batch.volumes.nan_to_num(posinf=0.0) / n_atoms.double().sqrt())[:, None]
        energy_share, force_share, stress_share = label_shares(batch)
        parts = {}
        for column, weights in self.weights.items():
            energy, label = self._compared(energies, labels, column)
            huber = masked_huber(energy / root, label / root, ENERGY_DELTA)
            part = weights.energy * energy_share[column] * huber
            if column in prediction.forces:
                forces = prediction.forces[column].to(labels.dtype)
                huber = masked_huber(forces, batch.forces[:, column], FORCE_DELTA)
                part = part + weights.forces * force_share[column] * huber
            if column in prediction.stresses:
                stresses = (to_virials * prediction.stresses[column]).to(labels.dtype)
                label = (to_virials * batch.stresses[:, column]).to(labels.dtype)
                huber = masked_huber(stresses, label, VIRIAL_DELTA)
                part = part + weights.stress * stress_share[column] * huber
            parts[column] = part
        return torch.stack(list(parts.values())).sum(), parts

    def _compared(self, energies: Tensor, labels: Tensor, column: int) -> tuple[Tensor, Tensor]:
        energy, label = energies[:, column], labels[:, column]
        if column not in self.paired:
            return energy, label
        base = self.paired[column]
        pair = ~torch.isnan(labels[:, base])
        return (
            torch.where(pair, energy - energies[:, base], energy),
            torch.where(pair, label - labels[:, base], label),
        )


def label_shares(batch: Batch) -> Tensor:
    """Return the weight of this process's means, (3, n_fidelities): energies, forces, stresses.

    Gradients are averaged over processes. A mean over a process's labels therefore has to count as
    many times as it has labels more than the average process, which is once if it is alone.
    """
    energies, forces = ~torch.isnan(batch.energies), ~torch.isnan(batch.forces)
    stresses = ~torch.isnan(batch.stresses)
    counts = [energies.sum(0), forces.sum((0, 2)), stresses.sum((0, 2))]
    known = torch.stack(counts).to(batch.positions)
    return processes.count() * known / processes.total(known).clamp(min=1)


def masked_huber(prediction: Tensor, label: Tensor, delta: float) -> Tensor:
    """Mean Huber loss in units of ``delta`` where the label is not NaN; 0 if there is none."""
    known = ~torch.isnan(label)
    if not bool(known.any()):
        return 0.0 * prediction.sum()  # every process must have a gradient of every parameter
    return huber_loss(prediction[known], label[known], delta=delta) / delta
