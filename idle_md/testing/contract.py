"""Invariants of a deployed model that engines rely on, see :mod:`idle_md.edge_contract`."""

import ase
import numpy as np
import pytest
import torch
from torch import Tensor

from idle_md.deploy import DeployedModel
from idle_md.engines.results import Prediction
from idle_md.testing.evaluators import model_evaluator
from idle_md.testing.subject import CELL, Subject, assert_close, random_atoms

Values = tuple[Tensor, Tensor]
"""Atomic energies (N,) in eV and edge gradients (E, 3) in eV/angstrom."""


class OwnedAtoms:
    """Parts of a system that are evaluated apart add up to the whole.

    The fixture ``model`` is a :class:`~idle_md.deploy.DeployedModel`.
    """

    def test_two_halves_add_up_to_the_whole(self, model: DeployedModel) -> None:
        for cell in (None, CELL):
            atoms = random_atoms(_subject(model), 9, cell)
            n_first = 4
            everything = _owned(model, atoms, np.arange(9), 9)
            first = _owned(model, atoms, np.arange(9), n_first)
            order = np.roll(np.arange(9), -n_first)
            second = _owned(model, atoms, order, 9 - n_first)
            energies = torch.cat([first[0][:n_first], second[0][n_first:]])
            found = _prediction(model, atoms, (energies, first[1] + second[1]))
            assert_close(_subject(model), found, _prediction(model, atoms, everything))

    def test_nothing_is_owned(self, model: DeployedModel) -> None:
        atoms = random_atoms(_subject(model), 9)
        assert not _owned(model, atoms, np.arange(9), 0)[1].any()


class Members:
    """The members of a committee.

    The fixture ``model`` is a :class:`~idle_md.deploy.DeployedModel` of several members.
    """

    def test_mean_of_the_members_is_the_model(self, model: DeployedModel) -> None:
        if model.metadata.members == 1:
            pytest.skip("the model is no committee")
        for cell in (None, CELL):
            atoms = random_atoms(_subject(model), 9, cell)
            system = atoms.numbers, atoms.positions, cell, cell is not None
            energies, forces = model.evaluate_members(*system)
            assert energies.shape == (model.metadata.members,)
            assert forces.shape == (model.metadata.members, 9, 3)
            found = Prediction(float(energies.mean()), forces.mean(0))
            assert_close(_subject(model), found, Prediction(*model.evaluate(*system)))


def _subject(model: DeployedModel) -> Subject:
    metadata = model.metadata
    cutoff = metadata.cutoff_angstrom
    return Subject(model_evaluator(model), metadata.elements, cutoff, dtype=model.dtype)


def _owned(model: DeployedModel, atoms: ase.Atoms, order: np.ndarray, n_owned: int) -> Values:
    """Return energies and gradients of the first atoms in an order, back in the given order.

    Atoms take their numbers by the order, and edges are sorted anew, as the contract has it.
    """
    system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    species, edge_index, vectors = model.inputs(*system)
    rank = torch.from_numpy(np.argsort(order)).to(model.device)
    renamed = rank[edge_index]
    by_centre = renamed[0].argsort(stable=True)
    inputs = species[torch.from_numpy(order)], renamed[:, by_centre], vectors[by_centre]
    with torch.no_grad():
        energies, gradients = model.core(*inputs, n_owned)
    restored = torch.empty_like(gradients)
    restored[by_centre] = gradients
    return energies[rank], restored


def _prediction(model: DeployedModel, atoms: ase.Atoms, values: Values) -> Prediction:
    system = atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc
    energies, gradients = values
    forces = model.forces(gradients, model.inputs(*system)[1], len(atoms))
    return Prediction(float(energies.sum()), forces.cpu().numpy())
