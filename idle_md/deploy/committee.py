"""Several trained members deployed as one model: their mean, and each of them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from idle_md.deploy.core import DeployedCore, extract
from idle_md.nn import Potential


class CommitteeCore(nn.Module):
    """Mean of several cores, and all of them; can be scripted.

    Parameters
    ----------
    cores
        Two or more cores of the same elements, cutoff and fidelity.
    """

    def __init__(self, cores: Sequence[DeployedCore]) -> None:
        super().__init__()
        self.gradients = nn.ModuleList([core.gradient for core in cores])
        # (Z, M) float64, of which every member takes a column.
        self.constants = nn.Buffer(torch.stack([core.constants for core in cores], dim=1))
        self.metadata = ""  # as in DeployedCore

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return the members' mean atomic energies in eV and edge gradients in eV/angstrom.

        Inputs and outputs are those of :meth:`DeployedCore.forward`: (N,) float64 and (E, 3).
        """
        with torch.no_grad():
            total = self.constants.index_select(0, species).sum(1)
            summed = torch.zeros_like(edge_vectors)
            for gradient in self.gradients:
                energies, gradients = gradient(species, edge_index, edge_vectors, n_owned)
                total.add_(energies.to(torch.float64))
                summed.add_(gradients)
            total.div_(len(self.gradients))
            summed.div_(len(self.gradients))
        return total, summed

    @torch.jit.export
    def members(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return every member's atomic energies and edge gradients.

        The inputs are those of :meth:`forward`.

        Returns
        -------
        atomic_energies
            (N, M) float64 in eV, reference energies included; meaningless from ``n_owned`` on.
        edge_gradients
            (M, E, 3) in eV/angstrom.
        """
        every_energy: list[Tensor] = []
        every_gradient: list[Tensor] = []
        with torch.no_grad():
            for gradient in self.gradients:
                energies, gradients = gradient(species, edge_index, edge_vectors, n_owned)
                every_energy.append(energies.to(torch.float64))
                every_gradient.append(gradients)
            total = torch.stack(every_energy, 1).add_(self.constants.index_select(0, species))
            gradients = torch.stack(every_gradient)
        return total, gradients


def extract_committee(
    potentials: Sequence[Potential], fidelity: str, names: Sequence[str] | None = None
) -> CommitteeCore:
    """Keep one fidelity of several potentials that differ in their weights alone.

    Parameters
    ----------
    potentials
        The members, two or more.
    fidelity
        What they all have.
    names
        What errors call them; by default ``member 0``, ``member 1``, ...

    Raises
    ------
    ValueError
        If a member lacks the fidelity, or its elements, cutoff, precision or any other setting of
        its network differ from those of the first; names the member.
    """
    titles = list(names or [f"member {k}" for k in range(len(potentials))])
    if len(potentials) < 2:
        raise ValueError("a committee has two or more members: use `extract` for one potential")
    for potential, title in zip(potentials, titles, strict=True):
        if fidelity not in potential.fidelities:
            known = ", ".join(potential.fidelities)
            raise ValueError(f"{title} has no fidelity {fidelity!r}: it has {known}")
    expected = _settings(potentials[0])
    for potential, title in zip(potentials[1:], titles[1:], strict=True):
        settings = _settings(potential)
        for key in expected | settings:
            if settings.get(key) != expected.get(key):
                raise ValueError(
                    f"{title} has {key} {settings.get(key)}, but {titles[0]} has "
                    f"{expected.get(key)}: the members of a committee differ in their weights alone"
                )
    return CommitteeCore([extract(potential, fidelity) for potential in potentials]).eval()


def _settings(potential: Potential) -> dict[str, Any]:
    """Return all that members must share; they may know different fidelities besides."""
    shared = dict(potential.hyperparameters)
    backbone = dict(shared.pop("backbone"))
    for name in ("fidelities", "correction_on", "anchored"):
        shared.pop(name, None)
    precision = str(potential.dtype).removeprefix("torch.")
    return {"backbone": backbone.pop("name"), **backbone, "precision": precision, **shared}
