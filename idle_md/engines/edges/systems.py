"""Edges of several systems in one graph, kept between calls."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.edge_contract import join
from idle_md.engines.edges.all_pairs import pairs_of
from idle_md.engines.edges.base import SKIN
from idle_md.engines.edges.choice import takes_all_pairs
from idle_md.engines.edges.room import with_room
from idle_md.neighbors import SkinList

Kind = tuple[tuple[int, ...], tuple[bool, ...]]
"""Atoms of every system, and along which lattice vectors all of them are periodic."""


class Lists(Protocol):
    """Finds the edges of systems of one kind, on the model's device."""

    kind: Kind

    def begin(self, positions: Tensor, cells: Tensor) -> None:
        """Get ready for systems like these, N atoms with S cells (S, 3, 3); may wait for a GPU."""
        ...

    def inputs(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, ...]:
        """Return what :meth:`edges` takes of positions (N, 3) and cells in angstrom."""
        ...

    @property
    def edges(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """What gives edge_index (2, E) and edge_vectors (E, 3); waits for nothing."""
        ...


class OpenSystems:
    """All pairs of small systems.

    Parameters
    ----------
    model
        Whose edges they are.
    kind
        Not periodic.
    """

    def __init__(self, model: DeployedModel, kind: Kind) -> None:
        self.kind, self.dtype = kind, model.dtype
        self.pairs = pairs_of(kind[0]).to(model.device)

    def begin(self, positions: Tensor, cells: Tensor) -> None:
        """Do nothing, see :class:`Lists`."""

    def inputs(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pairs (2, E) and the positions."""
        return self.pairs, positions

    def edges(self, pairs: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Lists`."""
        points = positions.double()
        return pairs, (points[pairs[1]] - points[pairs[0]]).to(self.dtype)


class NativeSystems:
    """A native list for each system.

    Parameters
    ----------
    model
        On native operators.
    kind
        Of the systems.
    """

    def __init__(self, model: DeployedModel, kind: Kind) -> None:
        self.kind, self.dtype = kind, model.dtype
        cutoff = model.metadata.cutoff_angstrom
        self.kept = [torch.classes.idle_md.NeighborList(cutoff, SKIN) for _ in kind[0]]

    def begin(self, positions: Tensor, cells: Tensor) -> None:
        """Make room for the neighbours that there are, see :class:`Lists`.

        Raises
        ------
        ValueError
            If a system has no list of neighbours; says why.
        """
        for kept, *system in zip(self.kept, *self._split(positions, cells), strict=True):

            def problem(kept: Any = kept, system: Any = system) -> int:
                kept.compute(*system, list(self.kind[1]), self.dtype)
                return int(kept.problem())

            with_room(problem, lambda found: found == 0, kept.problem, kept.make_room)

    def inputs(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return the positions and the cells."""
        return positions, cells

    def edges(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Lists`."""
        found = [
            kept.compute(*system, list(self.kind[1]), self.dtype)
            for kept, *system in zip(self.kept, *self._split(positions, cells), strict=True)
        ]
        return join([index for index, _ in found], self.kind[0]), torch.cat([v for _, v in found])

    def _split(
        self, positions: Tensor, cells: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return positions.double().split(self.kind[0]), cells.double().unbind(0)


class PortableSystems:
    """A list on the CPU for each system, with edges within the cutoff alone.

    Parameters
    ----------
    model
        On any kernels and device.
    kind
        Of the systems.
    """

    def __init__(self, model: DeployedModel, kind: Kind) -> None:
        self.kind, self.device, self.dtype = kind, model.device, model.dtype
        self.kept = [SkinList(model.metadata.cutoff_angstrom, SKIN) for _ in kind[0]]

    def begin(self, positions: Tensor, cells: Tensor) -> None:
        """Do nothing, see :class:`Lists`."""

    def inputs(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3)."""
        points, boxes = positions.double().cpu().numpy(), cells.double().cpu().numpy()
        parts = np.split(points, np.cumsum(self.kind[0])[:-1])
        periodic = np.array(self.kind[1])
        found = [
            k.edges(p, box, periodic) for k, p, box in zip(self.kept, parts, boxes, strict=True)
        ]
        edge_index = join([torch.from_numpy(index) for index, _ in found], self.kind[0])
        vectors = torch.from_numpy(np.concatenate([vectors for _, vectors in found]))
        return edge_index.to(self.device), vectors.to(self.device, self.dtype)

    def edges(self, edge_index: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return :meth:`inputs`, which are the edges already."""
        return edge_index, vectors


def lists_for(model: DeployedModel, kind: Kind) -> Lists:
    """Return what finds the edges of several systems for a model, on a GPU without the CPU."""
    sizes, periodic = kind
    if takes_all_pairs(model, max(sizes), any(periodic)):
        return OpenSystems(model, kind)
    return NativeSystems(model, kind) if model.can_be_replayed else PortableSystems(model, kind)
