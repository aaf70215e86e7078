"""The potential: one backbone, one head per fidelity, reference energies."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from idle_md.nn.backbone import Backbone
from idle_md.nn.heads import FidelityHeads
from idle_md.nn.registry import backbone_of


class Potential(nn.Module):
    """Atomic energies at every fidelity.

    Parameters
    ----------
    backbone
        What gives the features.
    fidelities
        Names of the fidelities, in the order of the output columns.
    hidden
        Width of the heads' hidden layer; 0 for linear heads.
    correction_on
        See :class:`~idle_md.nn.FidelityHeads`.
    anchored
        Fidelities whose lone atoms have their reference energies exactly: what the network gives an
        atom without neighbours is taken off.
    """

    def __init__(
        self,
        backbone: Backbone,
        fidelities: Sequence[str],
        hidden: int = 32,
        correction_on: Mapping[str, str] | None = None,
        anchored: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.anchored = [fidelity for fidelity in fidelities if fidelity in anchored]
        self.backbone = backbone
        self.hidden = hidden
        self.heads = FidelityHeads(backbone.out_features, hidden, fidelities, correction_on)
        # A row per atomic number; float64 at any model precision, because totals are large.
        self.register_buffer(
            "reference_energies",
            torch.zeros(max(backbone.elements) + 1, len(fidelities), dtype=torch.float64),
        )
        self.reference_energies: Tensor

    @property
    def fidelities(self) -> list[str]:
        """Names of the fidelities, in the order of the output columns."""
        return self.heads.fidelities

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the networks; reference energies are float64 always."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All that :meth:`from_hyperparameters` needs, as plain values."""
        return {
            "backbone": self.backbone.hyperparameters,
            "fidelities": self.fidelities,
            "hidden": self.hidden,
            "correction_on": self.heads.correction_on,
            "anchored": self.anchored,
        }

    @classmethod
    def from_hyperparameters(cls, hyperparameters: Mapping[str, Any]) -> "Potential":
        """Build an untrained potential from what :attr:`hyperparameters` gave.

        Raises
        ------
        ValueError
            If there is no backbone of that name, or its sizes are not those that it has.
        """
        settings = dict(hyperparameters)
        return cls(backbone_of(settings.pop("backbone")), **settings)

    @torch.no_grad()
    def alone(self, fidelity: str, name: str | None = None) -> "Potential":
        """Return a copy with the head of one fidelity alone, scales and corrections folded in.

        Parameters
        ----------
        fidelity
            Which one.
        name
            What it is called in the copy; by default as before.
        """
        column = self.column(fidelity)
        name = name or fidelity
        anchored = [name] if fidelity in self.anchored else []
        copied = Potential(copy.deepcopy(self.backbone), [name], self.hidden, anchored=anchored)
        copied.to_precision(self.dtype).to(self.device)
        hidden, output = self.heads.folded(fidelity)
        if hidden is not None:
            copied.heads.hidden[name].load_state_dict(hidden.state_dict())
        copied.heads.output[name].load_state_dict(output.state_dict())
        copied.reference_energies[:, 0] = self.reference_energies[:, column]
        return copied

    @torch.no_grad()
    def unanchored(self) -> "Potential":
        """Return a copy of the same energies whose lone atoms are what the network makes of them.

        What was taken off for them is in its reference energies.
        """
        copied = copy.deepcopy(self)
        copied.reference_energies[self.backbone.elements] -= self._of_lone_atoms().double()
        copied.anchored = []
        return copied

    def column(self, fidelity: str) -> int:
        """Return the output column of a fidelity.

        Raises
        ------
        ValueError
            If the potential has no such fidelity.
        """
        if fidelity not in self.fidelities:
            raise ValueError(
                f"unknown fidelity {fidelity!r}: this model has {', '.join(self.fidelities)}"
            )
        return self.fidelities.index(fidelity)

    def has_energies(self, fidelity: str) -> bool:
        """Whether energies of a fidelity are known: not if it was trained on forces alone."""
        column = self.reference_energies[self.backbone.elements, self.column(fidelity)]
        return not bool(torch.isnan(column).all())

    def elements_of(self, fidelity: str) -> list[int]:
        """Return the atomic numbers that a fidelity knows: fewer than the network where NaN stands.

        A model that goes on with a data set of fewer elements knows nothing of the others there.
        """
        elements = self.backbone.elements
        if not self.has_energies(fidelity):
            return elements
        unknown = torch.isnan(self.reference_energies[:, self.column(fidelity)])
        return [number for number in elements if not unknown[number]]

    def forget_other_elements(self, fidelity: str, elements: Sequence[int]) -> None:
        """Let a fidelity know these elements alone."""
        others = sorted(set(self.backbone.elements) - set(elements))
        self.reference_energies[others, self.column(fidelity)] = torch.nan

    def residual(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return atomic energies (N, n_fidelities) in eV above the reference energies."""
        energies: Tensor = self.heads(self.backbone(species, edge_index, edge_vectors))
        if self.anchored:
            energies = energies - self._of_lone_atoms()[self.backbone.element_index[species]]
        return energies

    def _of_lone_atoms(self) -> Tensor:
        """Return what is taken off every atom of the elements, (n_elements, n_fidelities) in eV."""
        numbers = torch.tensor(self.backbone.elements, device=self.device)
        no_edges = numbers.new_zeros((2, 0)), numbers.new_zeros((0, 3), dtype=self.dtype)
        energies: Tensor = self.heads(self.backbone(numbers, *no_edges))
        return energies * energies.new_tensor([float(f in self.anchored) for f in self.fidelities])

    def forward(self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
        """Return atomic energies (N, n_fidelities) in eV, float64, reference energies included.

        Parameters
        ----------
        species
            Atomic numbers (N,).
        edge_index, edge_vectors
            (2, E) and (E, 3) in angstrom, see the edge contract.
        """
        residual = self.residual(species, edge_index, edge_vectors)
        return residual.to(torch.float64) + self.reference_energies[species]

    def to_precision(self, dtype: torch.dtype) -> "Potential":
        """Cast the networks to a precision; reference energies stay float64."""
        reference = self.reference_energies
        self.to(dtype)
        self.reference_energies = reference
        return self
