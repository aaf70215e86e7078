"""Edges found by NNPOps' search for neighbours."""

import math

import torch
from torch import Tensor, nn

from idle_md.edge_contract import edge_forces
from idle_md.engines.edges.base import Edges
from idle_md.native.nnpops import load_nnpops

DENSE = 0.15
"""Atoms per cubic angstrom, half as many again as in water: what room is left for by default."""
SMALL = 100
"""Up to this many atoms there is always room for all pairs."""
MOST = 23170
"""Atoms; the number of a pair, times eight, has to be a 32-bit integer in NNPOps."""


def default_room(n_atoms: int, cutoff: float) -> int:
    """Return for how many pairs there is room: all of a small or sparse system's."""
    every = n_atoms * (n_atoms - 1) // 2
    near = DENSE * 4.0 / 3.0 * math.pi * cutoff**3
    return min(every, max(math.ceil(n_atoms * near / 2.0), SMALL * (SMALL - 1) // 2))


class NNPOpsEdges(Edges):
    """Edges found anew every time among all pairs, by NNPOps' operator.

    On the CPU too many pairs, a box that is too small and positions that are not finite are errors.
    On a GPU nothing waits for it and the number of edges never changes, which CUDA graphs need:
    what is left of the room is filled with edges from the last atom to itself that are longer than
    the cutoff, and where there would have been an error energy and forces are NaN, which stops a
    run (:class:`~idle_md.engines.openmm.guard.GuardReporter`).

    Parameters
    ----------
    cutoff
        Longest edge in angstrom.
    atoms, dtype
        As in :class:`Edges`.
    max_pairs
        Room for pairs, each of which is two edges; by default what :func:`default_room` gives.

    Raises
    ------
    ImportError
        If NNPOps is not there.
    ValueError
        If there are fewer atoms than two, more than 23170, or no room.
    """

    def __init__(
        self, cutoff: float, atoms: Tensor, dtype: torch.dtype, max_pairs: int | None = None
    ) -> None:
        super().__init__(atoms, dtype)
        load_nnpops()
        if not 2 <= len(atoms) <= MOST:
            raise ValueError(
                f"neighbors 'nnpops' is for 2 to {MOST} atoms, not {len(atoms)}: use 'vesin'"
            )
        self.cutoff = cutoff
        self.room: int = default_room(len(atoms), cutoff) if max_pairs is None else max_pairs
        if self.room < 1:
            raise ValueError(f"max_pairs must be positive: got {max_pairs}")
        self.is_fixed = atoms.device.type != "cpu"
        self.last = len(atoms) - 1
        self.filling = nn.Buffer(torch.tensor([2.0 * cutoff, 0.0, 0.0], device=atoms.device))

    def forward(self, positions: Tensor, box: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return edge_index (2, E) and edge_vectors (E, 3), see :class:`Edges`."""
        points = positions.index_select(0, self.atoms).to(torch.float64) * self.angstrom
        is_good = torch.isfinite(points).all()
        cell = torch.empty((0, 0), dtype=torch.float64, device=points.device)
        if box is not None:
            cell = box.to(torch.float64) * self.angstrom
            is_good = torch.logical_and(is_good, self.suits(cell))
        if not self.is_fixed and not bool(is_good):
            if bool(torch.isfinite(points).all()):
                raise ValueError(
                    f"neighbors 'nnpops' needs a box in OpenMM's reduced form that measures two "
                    f"cutoffs, {2.0 * self.cutoff} angstrom, or more each way: use 'native' or "
                    f"'vesin'; the sides along the axes are {cell.diagonal()}"
                )
            raise ValueError("the atoms have flown apart")
        # one more than there is room for: it is taken only where there are too many
        pairs, deltas, _, count = torch.ops.neighbors.getNeighborPairs(
            points, self.cutoff, self.room + 1, cell, False
        )
        if self.is_fixed:
            return self.padded(pairs, deltas, is_good)
        return self.packed(pairs, deltas, int(count))

    def suits(self, cell: Tensor) -> Tensor:
        """Return whether each pair has one image within the cutoff that NNPOps finds."""
        sides = cell.diagonal()
        is_wide = (sides >= 2.0 * self.cutoff).all()
        is_lower = (cell.triu(1) == 0.0).all()
        is_reduced = (2.0 * cell.tril(-1).abs() <= sides * (1.0 + 1e-6)).all()
        return is_wide & is_lower & is_reduced

    def packed(self, pairs: Tensor, deltas: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return edges without what filled the room."""
        taken = (pairs[0] >= 0).nonzero().flatten()
        # what NNPOps counts on the CPU includes the filling; it says more only where it truncates
        found = count if count > self.room + 1 else len(taken)
        if found > self.room:
            raise ValueError(
                f"NNPOps found {found} pairs of atoms and has room for {self.room}: give a larger "
                "max_pairs"
            )
        return self.directed(pairs.index_select(1, taken), deltas.index_select(0, taken))

    def padded(self, pairs: Tensor, deltas: Tensor, is_good: Tensor) -> tuple[Tensor, Tensor]:
        """Return two edges for each of the room; the last ends at atom 0 if something is wrong."""
        pairs, deltas = pairs[:, : self.room + 1], deltas[: self.room + 1]
        is_free = pairs[0] < 0
        pairs = torch.where(is_free, torch.full_like(pairs, self.last), pairs)
        deltas = torch.where(is_free.unsqueeze(1), self.filling.to(deltas.dtype), deltas)
        edge_index, vectors = self.directed(pairs, deltas)
        is_good = is_good & (edge_index[1, -1] == self.last)
        ends = torch.where(is_good, edge_index[1], torch.zeros_like(edge_index[1]))
        return torch.stack([edge_index[0], ends]), vectors

    def directed(self, pairs: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Return both edges of each pair, sorted; NNPOps' vectors point to the first atom."""
        first, second = pairs[0].to(torch.int64), pairs[1].to(torch.int64)
        centres, ends = torch.cat([first, second]), torch.cat([second, first])
        order = (centres * (self.last + 1) + ends).argsort()
        edge_index = torch.stack([centres, ends]).index_select(1, order)
        return edge_index, torch.cat([-deltas, deltas]).index_select(0, order).to(self.dtype)

    @torch.jit.export
    def totals(
        self, energies: Tensor, gradients: Tensor, edge_index: Tensor, positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy in kJ/mol and the forces (N, 3) in kJ/mol/nm, or NaN, see above."""
        energy = energies.sum() * self.kj_per_mol
        forces = edge_forces(gradients, edge_index, self.last + 1)
        forces.mul_(self.kj_per_mol * self.angstrom)
        everywhere = torch.zeros_like(positions)
        everywhere.index_copy_(0, self.atoms, forces.to(positions.dtype))
        if self.is_fixed:
            is_good = edge_index[1, -1] == self.last
            energy = torch.where(is_good, energy, torch.full_like(energy, torch.nan))
            everywhere = torch.where(is_good, everywhere, torch.full_like(everywhere, torch.nan))
        return energy, everywhere
