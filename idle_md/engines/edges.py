"""From an engine's particles to edges and back, as TorchScript modules that run inside it."""

import logging
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from idle_md.deploy import DeployedModel
from idle_md.deploy.model import edge_forces
from idle_md.deploy.native import REMEDY, load_operators, why_portable
from idle_md.neighbors import LARGEST_EXTENT
from idle_md.units import KJ_PER_MOL, NM

Neighbors = Literal["auto", "native", "vesin", "torch", "nnpops"]

logger = logging.getLogger(__name__)

FEW_ATOMS = 64
"""Up to this many, all pairs of an open system are fewer launches on a GPU than a search."""
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
        self.atoms = nn.Buffer(atoms)

    def points(self, positions: Tensor, box: Tensor | None) -> Tensor:
        """Return the positions (n, 3) of the atoms in angstrom, float64."""
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        if box is None and not float((points.amax(0) - points.amin(0)).max()) <= self.farthest:
            raise ValueError("the atoms have flown apart")
        return points

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


class VesinEdges(Edges):
    """Edges found anew every time, by vesin; open systems must be shorter than its limit.

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, cutoff: float, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        import vesin_torch  # type: ignore[import-untyped]

        self.neighbors = vesin_torch.NeighborList(cutoff, full_list=True, sorted=True)

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        points = self.points(positions, box)
        cell = torch.zeros((3, 3), dtype=torch.float64, device=points.device)
        if box is not None:
            cell = box.to(torch.float64) * self.angstrom
        found = self.neighbors.compute(points, cell, box is not None, "PD")
        return found[0].t().contiguous(), found[1].to(self.dtype)


class NativeEdges(Edges):
    """Edges of a native list with a skin, and native operators around it.

    Parameters
    ----------
    neighbors
        A ``torch.classes.idle_md.NeighborList``.
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, neighbors: Any, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        self.neighbors = neighbors

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        edge_index, vectors = self.neighbors.compute_particles(
            positions, box, self.atoms, self.angstrom, self.dtype
        )
        return edge_index, vectors

    @torch.jit.export
    def totals(
        self, energies: Tensor, gradients: Tensor, edge_index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) on all particles in kJ/mol/nm."""
        energy, forces = torch.ops.idle_md.particle_forces(
            energies,
            gradients,
            edge_index,
            self.atoms,
            len(positions),
            self.kj_per_mol,
            self.kj_per_mol * self.angstrom,
            positions.dtype,
        )
        return energy, forces


class AllPairs(Edges):
    """Every pair of an open system, without a search; the model ignores those beyond its cutoff.

    The number of edges never changes, which CUDA graphs need.

    Parameters
    ----------
    atoms, dtype
        As in :class:`Edges`.
    """

    def __init__(self, atoms: Tensor, dtype: torch.dtype) -> None:
        super().__init__(atoms, dtype)
        different = ~torch.eye(len(atoms), dtype=torch.bool, device=atoms.device)
        self.pairs = nn.Buffer(different.nonzero().t().contiguous())

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        if box is not None:
            raise ValueError("neighbors 'torch' is for systems that are not periodic")
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        vectors = points.index_select(0, self.pairs[1]) - points.index_select(0, self.pairs[0])
        return self.pairs, vectors.to(self.dtype)


def edges_for(
    model: DeployedModel, atoms: Tensor, periodic: bool, neighbors: Neighbors = "auto"
) -> Edges:
    """Return the edges between some particles for a model.

    Raises
    ------
    ValueError
        If there is no such way to find neighbours, or it cannot be had for this system.
    ImportError
        If it needs NNPOps and that is not there.
    """
    if neighbors not in get_args(Neighbors):
        known = ", ".join(get_args(Neighbors))
        raise ValueError(f"unknown neighbors {neighbors!r}: there are {known}")
    if neighbors == "auto":
        neighbors = _best(model, len(atoms), periodic)
    cutoff = model.metadata.cutoff_angstrom
    logger.info("neighbours are found by %s", neighbors)
    if neighbors == "native":
        if atoms.device.type != "cpu":
            raise ValueError("neighbors 'native' is for the CPU: use 'vesin'")
        if not load_operators():
            raise ValueError(f"neighbors 'native' needs operators that are not built: {REMEDY}")
        skin = SKIN if model.kernels == "native" else 0.0  # a graph pays for every edge
        kept = torch.classes.idle_md.NeighborList(cutoff, skin)
        return NativeEdges(kept, atoms, model.dtype)
    if neighbors == "torch":
        if periodic:
            raise ValueError("neighbors 'torch' is for systems that are not periodic: use 'vesin'")
        return AllPairs(atoms, model.dtype)
    if neighbors == "nnpops":
        from idle_md.engines.nnpops import NNPOpsEdges

        return NNPOpsEdges(cutoff, atoms, model.dtype)
    return VesinEdges(cutoff, atoms, model.dtype)


def _best(model: DeployedModel, n_atoms: int, periodic: bool) -> Neighbors:
    """Return the fastest way; a graph that was chosen to be portable stays so."""
    if model.device.type != "cpu":
        return "torch" if n_atoms <= FEW_ATOMS and not periodic else "vesin"
    if model.kernels == "native":
        return "native"
    is_choice = why_portable(model.metadata, model.device) is None
    return "vesin" if is_choice or not load_operators() else "native"
