"""A deployed model in memory, and the one way to evaluate it on atoms."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ase
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from idle_md.deploy.failures import ONE_PLACE, too_close
from idle_md.deploy.metadata import Metadata
from idle_md.edge_contract import edge_forces
from idle_md.neighbors import neighbor_list


@dataclass(frozen=True, eq=False)
class DeployedModel:
    """One fidelity of a trained potential, ready to run.

    Attributes
    ----------
    core
        TorchScript module ``(species (N,), edge_index (2, E), edge_vectors (E, 3), n_owned) ->
        (atomic_energies (N,), edge_gradients (E, 3))`` in eV and angstrom.
    metadata
        What the file says of itself.
    device, dtype
        Where and in which precision the core runs.
    kernels
        ``"native"`` or ``"portable"``, see :func:`idle_md.deploy.load`.
    relative
        Whether energies are relative to lone atoms, see :func:`idle_md.deploy.load`.
    content
        The file that the core was read from, with which the model is pickled.
    """

    core: torch.jit.ScriptModule
    metadata: Metadata
    device: torch.device
    dtype: torch.dtype
    kernels: str = "portable"
    relative: bool = False
    content: bytes | None = field(default=None, repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DeployedModel":
        return self  # nothing in it changes

    @cached_property
    def uses_autograd(self) -> bool:
        """Whether autograd gives the gradients: the backbone brought no pass of its own."""
        graph: Any = self.core.inlined_graph
        return bool(graph.findAllNodes("aten::grad", recurse=True))

    @property
    def can_be_replayed(self) -> bool:
        """Whether CUDA graphs can record it: native operators on a GPU wait for nothing."""
        return self.kernels == "native" and self.device.type == "cuda"

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What engines keep for the model from call to call, such as recorded steps."""
        return {}

    def check_complete(self) -> None:
        """Check that the model gives a potential on its own.

        Raises
        ------
        ValueError
            If it is an explicit difference that needs a live low level; names the alternative.
        """
        low = self.metadata.delta_on
        if low is not None:
            raise ValueError(
                f"this model is the difference between {self.metadata.fidelity} and a live {low} "
                "calculation, which only the ASE calculator adds: train with `method: idle`, "
                "whose model needs no low level at inference"
            )

    def evaluate(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: bool | Sequence[bool] = False,
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in eV and the forces (N, 3) in eV/angstrom.

        Parameters
        ----------
        numbers
            Atomic numbers (N,), of elements that the model knows.
        positions
            (N, 3) in angstrom.
        cell, pbc
            Lattice vectors as rows (3, 3) in angstrom, and which of them are periodic.
        """
        species, edge_index, vectors = self.inputs(numbers, positions, cell, pbc)
        with torch.no_grad():
            energies, gradients = self.core(species, edge_index, vectors, len(species))
        return float(energies.sum()), self.forces(gradients, edge_index, len(species)).cpu().numpy()

    def evaluate_members(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: bool | Sequence[bool] = False,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return every member's energy (M,) in eV and forces (M, N, 3) in eV/angstrom.

        Their means are what :meth:`evaluate` returns, which has the same parameters.

        Raises
        ------
        ValueError
            If the model is no committee.
        """
        self.check_committee()
        species, edge_index, vectors = self.inputs(numbers, positions, cell, pbc)
        with torch.no_grad():
            energies, gradients = self.core.members(species, edge_index, vectors, len(species))
        forces = torch.stack(
            [self.forces(member, edge_index, len(species)) for member in gradients]
        )
        return energies.sum(0).cpu().numpy(), forces.cpu().numpy()

    def forces(self, gradients: Tensor, edge_index: Tensor, n_atoms: int) -> Tensor:
        """Return forces (N, 3) in float64 of edge gradients (E, 3), in eV/angstrom."""
        if self.kernels == "native":
            forces: Tensor = torch.ops.idle_md.edge_forces(gradients, edge_index, n_atoms)
            return forces
        return edge_forces(gradients, edge_index, n_atoms)

    def check_committee(self) -> None:
        """Check that the model has members that can disagree.

        Raises
        ------
        ValueError
            If it has one member alone.
        """
        if self.metadata.members == 1:
            raise ValueError(
                "the model is no committee, so it has no spread: train one with `ensemble: 4`, or "
                "export several checkpoints into one file (`idle-md export A.ckpt B.ckpt ...`)"
            )

    def inputs(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: bool | Sequence[bool] = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return species (N,), edge_index (2, E) and edge_vectors (E, 3) for the core.

        Raises
        ------
        ValueError
            As :func:`idle_md.neighbors.neighbor_list`; or if two atoms are in one place, where
            kernels stop, or give no numbers, or any; names them.
        """
        points = np.asarray(positions, dtype=np.float64)
        lattice = None if cell is None else np.asarray(cell, dtype=np.float64)
        pairs, shifts = neighbor_list(points, self.metadata.cutoff_angstrom, lattice, pbc)
        vectors = points[pairs[1]] - points[pairs[0]] + shifts
        if (np.square(vectors).sum(1) <= ONE_PLACE**2).any():
            raise ValueError(too_close(ase.Atoms(numbers, points, cell=lattice, pbc=pbc)))
        return (
            torch.as_tensor(np.asarray(numbers), dtype=torch.int64, device=self.device),
            torch.from_numpy(pairs).to(self.device),
            torch.from_numpy(vectors).to(self.device, self.dtype),
        )
