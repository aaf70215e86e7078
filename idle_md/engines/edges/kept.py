"""Neighbour lists of ASE's structures, kept between calls."""

import ase
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.engines.edges.base import SKIN
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
        self.device = model.device
        self.kept = torch.classes.idle_md.NeighborList(self.cutoff, SKIN)

    def edges(self, atoms: ase.Atoms) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom."""
        check_system(atoms.positions, self.cutoff, atoms.cell.array, atoms.pbc)
        positions = torch.from_numpy(atoms.positions).to(self.device)
        cell = torch.from_numpy(atoms.cell.array).to(self.device)
        edge_index, vectors = self.kept.compute(positions, cell, atoms.pbc.tolist(), self.dtype)
        return edge_index, vectors

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

    def edges(self, atoms: ase.Atoms) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3) in angstrom."""
        edge_index, vectors = self.kept.edges(atoms.positions, atoms.cell.array, atoms.pbc)
        return (
            torch.from_numpy(edge_index).to(self.device),
            torch.from_numpy(vectors).to(self.device, self.dtype),
        )

    @property
    def searches(self) -> int:
        """How often neighbours have been searched."""
        return self.kept.searches


def neighbors_for(model: DeployedModel) -> NativeNeighbors | PortableNeighbors:
    """Return what finds the edges of structures for a model, and keeps them between calls."""
    return NativeNeighbors(model) if model.kernels == "native" else PortableNeighbors(model)
