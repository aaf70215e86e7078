"""From an engine's particles to edges and back, as TorchScript modules that run inside it."""

import torch
from torch import Tensor, nn

from idle_md.cells import DENSEST, NARROWEST
from idle_md.edge_contract import edge_forces
from idle_md.neighbors import LARGEST_EXTENT
from idle_md.units import KJ_PER_MOL, NM

SKIN = 0.5
"""angstrom by which native lists reach beyond the cutoff; they are made anew when an atom has moved
half of it."""


class Edges(nn.Module):
    """What the modules share; each of them has a ``forward`` that finds the edges.

    ``forward(positions (N, 3), box (3, 3) or None)`` takes all particles and, of a periodic system,
    the box vectors as rows, in nm and in any floating-point precision. It returns edge_index (2, E)
    of the particles that the model describes, numbered from 0, and edge_vectors (E, 3) in angstrom.

    Parameters
    ----------
    atoms
        Indices (n,) of the particles that the model describes.
    dtype
        Of the edge vectors.
    """

    def __init__(self, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.angstrom = NM
        self.kj_per_mol = 1.0 / KJ_PER_MOL
        self.farthest = LARGEST_EXTENT
        self.densest, self.narrowest = DENSEST, NARROWEST
        self.atoms = nn.Buffer(atoms)

    def points(self, positions: Tensor, box: Tensor | None) -> Tensor:
        """Return the positions (n, 3) of the atoms in angstrom, float64."""
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        if box is None and not float((points.amax(0) - points.amin(0)).max()) <= self.farthest:
            raise ValueError("the atoms have flown apart")
        if box is not None and box.device.type == "cpu":
            self.check_box(box)
        return points

    def check_box(self, box: Tensor) -> None:
        """Check that reduced box vectors (3, 3) in nm can hold the atoms."""
        sides = box.to(torch.float64).diagonal() * self.angstrom
        is_dense = len(self.atoms) > self.densest * float(sides.prod())
        if is_dense or not float(sides.min()) >= self.narrowest:
            raise ValueError(
                "the cell cannot hold the model's atoms: give the right one, in nm; or has a "
                "barostat made it collapse?"
            )

    @torch.jit.export
    def problem(self) -> int:
        """Return what is wrong with a list that cannot stop; 0 for nothing, see ``room.py``."""
        return 0

    @torch.jit.export
    def make_room(self) -> None:
        """Double the room of such a list for neighbours."""

    @torch.jit.export
    def totals(
        self, energies: Tensor, gradients: Tensor, edge_index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) on all particles in kJ/mol/nm.

        Parameters
        ----------
        energies, gradients
            Of atoms (n,) and edges (E, 3), in eV and angstrom.
        edge_index, positions
            What ``forward`` returned and what it was given.
        """
        forces = edge_forces(gradients, edge_index, len(self.atoms))
        forces.mul_(self.kj_per_mol * self.angstrom)
        everywhere = torch.zeros_like(positions)
        everywhere.index_copy_(0, self.atoms, forces.to(positions.dtype))
        return energies.sum() * self.kj_per_mol, everywhere
