"""Masked multi-fidelity loss, and the energies and forces it compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from idle_md.data import Batch
from idle_md.nn import Potential

ENERGY_DELTA = 0.05  # eV / sqrt(atom): below it the loss is quadratic, above it linear
FORCE_DELTA = 0.1  # eV / angstrom


@dataclass(frozen=True)
class Prediction:
    """Residual energies (B, n_fidelities) in eV above the reference energies, and forces.

    ``forces`` (N, 3) in eV/angstrom by output column, for the columns that were asked for.
    """

    energies: Tensor
    forces: dict[int, Tensor]


def predict(
    potential: Potential, batch: Batch, force_columns: Sequence[int], create_graph: bool = False
) -> Prediction:
    """Return residual energies of every fidelity and forces of some.

    Parameters
    ----------
    potential
        The model.
    batch
        Geometries, on the model's device and in its precision.
    force_columns
        Output columns whose forces are wanted.
    create_graph
        Whether the forces will be differentiated again.
    """
    vectors = batch.edge_vectors.detach().requires_grad_(bool(force_columns))
    atomic = potential.residual(batch.species, batch.edge_index, vectors)
    energies = atomic.new_zeros((batch.n_graphs, atomic.shape[1]))
    energies = energies.index_add(0, batch.graph_index, atomic)
    forces = {}
    for number, column in enumerate(force_columns):
        keep = create_graph or number < len(force_columns) - 1
        (gradient,) = torch.autograd.grad(
            atomic[:, column].sum(), vectors, create_graph=create_graph, retain_graph=keep
        )
        forces[column] = (
            torch.zeros_like(batch.positions)
            .index_add(0, batch.edge_index[0], gradient)
            .index_add(0, batch.edge_index[1], -gradient)
        )
    return Prediction(energies, forces)


def residual_energies(potential: Potential, batch: Batch) -> Tensor:
    """Return label energies (B, n_fidelities) less the reference energies, NaN where missing."""
    reference = potential.reference_energies[batch.species]
    total = reference.new_zeros((batch.n_graphs, reference.shape[1]))
    total = total.index_add(0, batch.graph_index, reference)
    return (batch.energies - total).to(batch.positions.dtype)


@dataclass(frozen=True)
class Objective:
    """Sum over fidelities of Huber losses of energies and forces.

    Energies enter per square root of the number of atoms, so that small and large molecules weigh
    alike. Labels that are missing contribute nothing, and a batch without any label of a kind
    contributes zero for it.

    Parameters
    ----------
    weights
        ``{column: (energy weight, force weight)}``.
    paired
        ``{column: base column}``: where both energies are labelled, the difference of the two
        predictions is supervised in place of the column's own energy.
    """

    weights: Mapping[int, tuple[float, float]]
    paired: Mapping[int, int]

    def force_columns(self, batch: Batch) -> list[int]:
        """Return the columns that have a weighted force label in the batch."""
        return [
            column
            for column, (_, weight) in self.weights.items()
            if weight > 0 and not bool(torch.isnan(batch.forces[:, column, 0]).all())
        ]

    def __call__(
        self, potential: Potential, batch: Batch, create_graph: bool = True
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Return the loss and its part by output column."""
        prediction = predict(potential, batch, self.force_columns(batch), create_graph)
        labels = residual_energies(potential, batch)
        n_atoms = torch.bincount(batch.graph_index, minlength=batch.n_graphs)
        root = n_atoms.to(labels.dtype).sqrt()
        parts = {}
        for column, (energy_weight, force_weight) in self.weights.items():
            energy, label = self._compared(prediction.energies, labels, column)
            part = energy_weight * masked_huber(energy / root, label / root, ENERGY_DELTA)
            if column in prediction.forces:
                forces, force_labels = prediction.forces[column], batch.forces[:, column]
                part = part + force_weight * masked_huber(forces, force_labels, FORCE_DELTA)
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


def masked_huber(prediction: Tensor, label: Tensor, delta: float) -> Tensor:
    """Mean Huber loss in units of ``delta`` where the label is not NaN; 0 if there is none."""
    known = ~torch.isnan(label)
    if not bool(known.any()):
        return prediction.new_zeros(())
    return huber_loss(prediction[known], label[known], delta=delta) / delta
