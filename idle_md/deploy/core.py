"""What is deployed: one fidelity of a potential, giving energies and edge gradients together."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from idle_md.nn import Potential
from idle_md.nn.reverse import by_number


class DeployedCore(nn.Module):
    """One fidelity's atomic energies and their edge gradients; can be scripted.

    Parameters
    ----------
    gradient
        What :meth:`~idle_md.nn.Backbone.gradient` of the backbone gives.
    constants
        Per atomic number, reference energy plus constant of the head in eV, float64.
    """

    def __init__(self, gradient: nn.Module, constants: Tensor) -> None:
        super().__init__()
        self.gradient = gradient
        self.constants = nn.Buffer(constants)
        self.metadata = ""  # kept here too: engines that save the module again drop extra files

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies in eV and edge gradients in eV/angstrom.

        Parameters
        ----------
        species
            Atomic numbers (N,), int64.
        edge_index
            Centres and neighbours (2, E), int64, sorted by centre.
        edge_vectors
            ``r_j - r_i + shift`` (E, 3) in angstrom, in the precision of the model.
        n_owned
            The gradients are those of the sum of the first ``n_owned`` atomic energies.

        Returns
        -------
        atomic_energies
            (N,) float64, reference energies included; meaningless from ``n_owned`` on.
        edge_gradients
            (E, 3); exactly zero where ``|edge_vectors| >= cutoff``.
        """
        with torch.no_grad():  # TorchForce asks for autograd; freezing drops a mere detach()
            energies, gradients = self.gradient(species, edge_index, edge_vectors, n_owned)
            total = energies.to(torch.float64) + self.constants.index_select(0, species)
        return total, gradients


@torch.no_grad()
def extract(potential: Potential, fidelity: str) -> DeployedCore:
    """Keep one fidelity of a potential, with everything folded that can be.

    Scales, a correction's base head and the head's constant are merged, so the result is the same
    whether the potential has one fidelity or many.

    Raises
    ------
    ValueError
        If the potential has no such fidelity, or only its forces are known.
    """
    backbone = potential.backbone
    column = potential.column(fidelity)
    if not potential.has_energies(fidelity):
        raise ValueError(
            f"{fidelity!r} was trained on forces alone, so its energies are unknown: deploy "
            "another fidelity, or train with `energy` among its labels"
        )
    hidden, output = potential.heads.folded(fidelity)
    constants = potential.reference_energies[backbone.elements, column] + output.bias.double()
    gradient = backbone.gradient(hidden, output)
    core = DeployedCore(gradient, by_number(constants, backbone.elements)).eval()
    if fidelity in potential.anchored:
        numbers = torch.tensor(potential.elements_of(fidelity), device=potential.device)
        wanted = potential.reference_energies[numbers, column]
        core.constants[numbers] += wanted - lone_atoms(core, numbers, potential.dtype)
    return core


def lone_atoms(
    core: Callable[..., tuple[Tensor, Tensor]], numbers: Tensor, dtype: torch.dtype
) -> Tensor:
    """Return a core's energies (N,), or its members' (N, M), of atoms without neighbours."""
    no_edges = numbers.new_zeros((2, 0)), numbers.new_zeros((0, 3), dtype=dtype)
    return core(numbers, *no_edges, len(numbers))[0]
