"""Neighbour lists of ASE's structures, kept between calls."""

import ase
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.engines.edges.base import SKIN
from idle_md.engines.edges.room import explained
from idle_md.neighbors import SkinList, check_system


class NativeNeighbors:
    """Edges of a native list, which keeps its skin: native kernels pass over what is in it.

    Parameters
    ----------
    model
        A model on native kernels.
    """

    def __init__(self, model: DeployedModel) -> None:
        self.cutoff, self.dtype = model.metadata.cutoff_angstrom, model.dtype
        self.kept = torch.classes.idle_md.NeighborList(self.cutoff, SKIN)

    def inputs(self, atoms: ase.Atoms) -> tuple[Tensor, Tensor, list[bool]]:
        """Return positions (N, 3) and cell (3, 3) in angstrom, and periodicity, of a structure."""
        check_system(atoms.positions, self.cutoff, atoms.cell.array, atoms.pbc)
        cell = torch.from_numpy(atoms.cell.array)
        return torch.from_numpy(atoms.positions), cell, atoms.pbc.tolist()

    def edges(self, positions: Tensor, cell: Tensor, pbc: list[bool]) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom of :meth:`inputs`."""
        edge_index, vectors = self.kept.compute(positions, cell, pbc, self.dtype)
        return edge_index, vectors

    def problem(self) -> int:
        """Return what is wrong with the list on a GPU; 0 for nothing, see ``room.py``."""
        return int(self.kept.problem())

    def make_room(self) -> None:
        """Double the room of the list on a GPU for neighbours."""
        self.kept.make_room()

    @property
    def searches(self) -> int:
        """How often neighbours have been searched."""
        return int(self.kept.rebuilds())


class PortableNeighbors:
    """Edges within the cutoff alone: a graph pays for every edge.

    Parameters
    ----------
    model
        A model on any kernels and device.
    """

    def __init__(self, model: DeployedModel) -> None:
        self.device, self.dtype = model.device, model.dtype
        self.kept = SkinList(model.metadata.cutoff_angstrom, SKIN)

    def inputs(self, atoms: ase.Atoms) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom of a structure."""
        edge_index, vectors = self.kept.edges(atoms.positions, atoms.cell.array, atoms.pbc)
        return (
            torch.from_numpy(edge_index).to(self.device),
            torch.from_numpy(vectors).to(self.device, self.dtype),
        )

    def edges(self, edge_index: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`inputs`, which are the edges already."""
        return edge_index, vectors

    @property
    def searches(self) -> int:
        """How often neighbours have been searched."""
        return self.kept.searches


def neighbors_for(model: DeployedModel) -> NativeNeighbors | PortableNeighbors:
    """Return what finds the edges of structures for a model, and keeps them between calls."""
    return NativeNeighbors(model) if model.kernels == "native" else PortableNeighbors(model)


def list_problem(model: DeployedModel, atoms: ase.Atoms) -> str:
    """Return why a model on native operators and a GPU has no list of a structure's neighbours.

    Nothing, where it has one.
    """
    neighbors = NativeNeighbors(model)
    try:
        positions, cell, pbc = neighbors.inputs(atoms)
    except ValueError as error:
        return str(error)
    neighbors.edges(positions.to(model.device), cell.to(model.device), pbc)
    return explained(neighbors.problem())
