import ase
import ase.build
import numpy as np
import pytest

from idle_md.bonds import (
    bond_vectors,
    closest_pair,
    closest_ratio,
    contact_ratios,
    find_bonds,
    find_contacts,
    fragments,
    is_sound,
    radii_sums,
)


def test_bonds_are_those_of_chemistry() -> None:
    ethanol = ase.build.molecule("CH3CH2OH")  # C C O H(O) and five H of the carbons
    expected = [[0, 1], [0, 6], [0, 7], [0, 8], [1, 2], [1, 4], [1, 5], [2, 3]]
    assert find_bonds(ethanol).tolist() == expected
    assert find_bonds(ase.build.molecule("H2")).tolist() == [[0, 1]]
    assert find_bonds(ase.Atoms("CX", [[0, 0, 0], [0.1, 0, 0]])).shape == (0, 2)
    across = ase.Atoms("CO", [[0.2, 3, 3], [5.0, 3, 3]], cell=[6, 6, 6], pbc=True)
    assert find_bonds(across).tolist() == [[0, 1]]


def test_bonds_have_their_lengths() -> None:
    across = ase.Atoms("CO", [[0.2, 3, 3], [5.0, 3, 3]], cell=[6, 6, 6], pbc=True)
    bonds = find_bonds(across)
    assert bond_vectors(across, bonds) == pytest.approx(np.array([[-1.2, 0.0, 0.0]]))
    assert radii_sums(across, bonds) == pytest.approx([0.76 + 0.66])  # Cordero et al.


def test_fragments() -> None:
    water = ase.build.molecule("H2O")
    far = water.copy()
    far.positions += 5.0
    assert (fragments(water), fragments(water + far)) == (1, 2)
    assert not is_sound(water + far, 1)
    chain = ase.Atoms("C20", [[0, 0, 1.5 * k] for k in np.random.default_rng(0).permutation(20)])
    assert fragments(chain) == 1
    chain.positions[chain.positions[:, 2] > 10] += [0, 0, 3.0]
    assert fragments(chain) == 2
    squeezed = water.copy()
    squeezed.positions *= 0.5
    assert not is_sound(squeezed, 1)
    assert contact_ratios(water, water).shape == (3, 3)


def test_closest_ratio_is_that_of_the_shortest_bond() -> None:
    water = ase.build.molecule("H2O")
    assert closest_ratio(water) == pytest.approx(water.get_distance(0, 1) / (0.66 + 0.31))
    assert closest_ratio(ase.Atoms("O")) == np.inf
    assert is_sound(ase.Atoms("O"), 1)


def test_contacts_are_sorted_and_come_once() -> None:
    positions = [[0.1, 1, 1], [0.1, 1, 1.4], [2.9, 1, 1], [0.1, 1, 1]]
    atoms = ase.Atoms("CHOX", positions, cell=[3, 3, 3], pbc=True)
    close = find_contacts(atoms, 0.5)
    assert close.pairs.tolist() == [[0, 2], [0, 1], [1, 2]]
    assert close.lengths == pytest.approx([0.2, 0.4, np.hypot(0.2, 0.4)])
    assert close.with_image.tolist() == [True, False, True]
    assert closest_pair(atoms[:3]) == (0, 2, pytest.approx(0.2))
    atoms.pbc = False
    assert find_contacts(atoms, 0.5).pairs.tolist() == [[0, 1]]


def test_atoms_are_in_contact_with_their_own_images() -> None:
    narrow = ase.Atoms("C", cell=[0.6, 5, 5], pbc=True)
    close = find_contacts(narrow, 0.7)
    assert {tuple(pair) for pair in close.pairs.tolist()} == {(0, 0)}
    assert close.with_image.all()
    assert find_contacts(ase.Atoms("C"), 0.5).pairs.shape == (0, 2)
