"""Copies are found however they are turned, mirrored, renumbered or rounded; nothing else is."""

from dataclasses import replace

import ase.build
import numpy as np
import pytest
from ase import Atoms
from scipy.spatial.transform import Rotation

from idle_md.data import Labels, Store, from_atoms, join, load, merge_copies, split
from idle_md.data.identity import copies
from idle_md.data.identity.copies import (
    geometry_ids,
    near_between,
    near_copies,
    nuclear_ids,
    superposed,
)


def changed(store: Store, seed: int, decimals: int = 10) -> Store:
    """Every geometry turned or mirrored, moved, renumbered and rounded, its forces with it."""
    rng = np.random.default_rng(seed)
    rows, matrices = np.arange(len(store.numbers)), []
    for first, last in zip(store.offsets[:-1], store.offsets[1:], strict=True):
        rows[first:last] = rng.permutation(rows[first:last])
        matrices.append(Rotation.random(rng=rng).as_matrix() * rng.choice([-1, 1]))
    each = np.repeat(matrices, store.n_atoms, axis=0)
    moved = np.repeat(rng.normal(size=(store.n_geometries, 3)), store.n_atoms, axis=0)

    def turned(vectors):
        return np.einsum("ai,aij->aj", vectors[rows], each)

    return replace(
        store,
        numbers=store.numbers[rows],
        positions=np.round(turned(store.positions) + moved, decimals),
        labels={
            name: Labels(labels.energy, turned(labels.forces).astype(np.float32))
            for name, labels in store.labels.items()
        },
    )


@pytest.fixture(scope="module")
def part() -> Store:
    """Geometries of many molecules, relaxed ones among them, with forces of two levels."""
    store = load("chno-mini", ["gfn2", "wb97x"])
    return store.select(np.arange(0, store.n_geometries, 80))


@pytest.mark.parametrize("decimals", [4, 6, 10])
def test_a_copy_is_found_whatever_its_frame_order_and_digits(part, decimals) -> None:
    n = part.n_geometries
    ids = geometry_ids(join([part, changed(part, 0, decimals)]))
    np.testing.assert_array_equal(ids[n:], ids[:n])
    np.testing.assert_array_equal(ids[:n], np.arange(n))


@pytest.mark.parametrize("name", ["H", "N2", "CO2", "C2H2", "CH4", "C6H6", "C60", "H2O"])
def test_symmetric_molecules_are_found_and_displaced_ones_are_others(name) -> None:
    atoms = Atoms("H") if name == "H" else ase.build.molecule(name)
    one = from_atoms([atoms], [name])
    pair = join([one, changed(one, 1, 5), changed(one, 2, 5)])
    assert len(np.unique(geometry_ids(pair))) == 1
    for stretch in (1.002, 0.998) if len(atoms) > 1 else ():
        moved = one.select([0])
        moved.positions[-1] *= stretch
        assert len(np.unique(geometry_ids(join([one, changed(moved, 3)])))) == 2


def test_rotated_group_and_diastereomers_are_not_copies() -> None:
    """The same distances within two halves, or nearly the same radii, do not make copies."""
    ethane = ase.build.molecule("C2H6")
    ends = [i for i in range(8) if ethane.positions[i, 2] > 0]
    other = ethane.copy()
    turn = Rotation.from_euler("z", 1, degrees=True).as_matrix()
    other.positions[ends] = other.positions[ends] @ turn
    assert len(np.unique(geometry_ids(from_atoms([ethane, other], ["a", "b"])))) == 2
    swapped = ethane.copy()
    swapped.numbers[[0, 2]] = swapped.numbers[[2, 0]]
    assert len(np.unique(geometry_ids(from_atoms([ethane, swapped], ["a", "b"])))) == 2


def crystal(seed: int, pbc=True) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.6).repeat((2, 1, 2))
    atoms.rattle(0.1, seed=seed)
    atoms.set_cell(atoms.cell.array + 0.1 * rng.normal(size=(3, 3)))
    atoms.pbc = pbc
    return atoms


@pytest.mark.parametrize("pbc", [True, (True, True, False)])
def test_periodic_copies_are_wrapped_shifted_renumbered_and_turned(pbc) -> None:
    atoms, other = crystal(0, pbc), crystal(0, pbc)
    shift = np.array([0.3, 0.7, 0.4]) @ atoms.cell.array
    other.positions += shift + np.array([1, -2, 0]) @ atoms.cell.array
    turn = Rotation.random(rng=3).as_matrix()
    other.positions, other.cell = other.positions @ turn, other.cell.array @ turn
    other.wrap()
    other = other[np.random.default_rng(1).permutation(len(other))]
    other.positions = np.round(other.positions, 6)
    store = from_atoms([atoms, other, crystal(2, pbc)], ["a"] * 3)
    assert geometry_ids(store).tolist() == [0, 0, 1]
    way = superposed(store, 0, 1)
    np.testing.assert_allclose(other.cell.array[:2] @ way.rotation, atoms.cell.array[:2], atol=1e-6)


def test_a_dimer_in_a_box_is_another_where_it_points_elsewhere() -> None:
    box = {"cell": [6.0, 6.0, 8.0], "pbc": True}
    along = [Atoms("CO", [[0, 0, 0], each], **box) for each in ([0, 0, 1.2], [1.2, 0, 0])]
    assert geometry_ids(from_atoms(along, ["a", "a"])).tolist() == [0, 1]
    stretched = along[0].copy()
    stretched.cell[2, 2] = 8.01
    assert geometry_ids(from_atoms([along[0], stretched], ["a", "a"])).tolist() == [0, 1]


def test_charge_makes_another_geometry_of_the_same_nuclei(part) -> None:
    other = changed(part, 4)
    other.charge = other.charge + 2
    both, n = join([part, other]), part.n_geometries
    assert geometry_ids(both).max() == 2 * n - 1
    np.testing.assert_array_equal(nuclear_ids(both)[n:], np.arange(n))


def test_merged_forces_are_those_of_the_frame_that_is_kept(part) -> None:
    low = replace(part, labels={"gfn2": part.labels["gfn2"]})
    high = replace(changed(part, 5, 6), labels={})
    high.labels = {"wb97x": changed(part, 5, 6).labels["wb97x"]}
    high.manifest = part.manifest.covering(high.labels)
    merged = merge_copies(join([low, high]))
    assert merged.n_geometries == part.n_geometries
    energy, forces = part.labels["wb97x"].energy, part.labels["wb97x"].forces
    np.testing.assert_array_equal(merged.labels["wb97x"].energy, energy)
    np.testing.assert_allclose(merged.labels["wb97x"].forces, forces, atol=5e-3)  # noise of grids
    np.testing.assert_array_equal(merged.labels["gfn2"].forces, low.labels["gfn2"].forces)


def test_copies_with_other_labels_are_refused(part) -> None:
    other = changed(part, 6)
    other.labels["gfn2"] = Labels(other.labels["gfn2"].energy + 22.9, other.labels["gfn2"].forces)
    n = part.n_geometries
    with pytest.raises(ValueError, match=rf"0 and {n} are copies .*gfn2 energies differ by 22\.9"):
        merge_copies(join([part, other]))


@pytest.mark.parametrize("by", ["geometry", "group"])
@pytest.mark.parametrize("seed", range(3))
def test_nothing_of_a_drawn_test_geometry_is_trained_or_validated_on(part, by, seed) -> None:
    copied = changed(part, seed, 6)
    copied.group = np.char.add(copied.group, " again")
    both = join([part, copied])
    both.role = np.full(both.n_geometries, "")
    ids, parts = geometry_ids(both), split(both, 0.1, 0.2, by=by, seed=seed)
    assert not np.isin(ids[parts["test"]], ids[np.r_[parts["train"], parts["validation"]]]).any()
    assert 0.1 * len(ids) < len(parts["test"]) < 0.3 * len(ids)
    assert len(parts["validation"])


def test_a_rounded_copy_of_a_test_geometry_is_refused(part) -> None:
    tested = changed(part, 7, 5)
    tested.role = np.full(part.n_geometries, "test")
    free = replace(part, role=np.full(part.n_geometries, ""))
    n = part.n_geometries
    with pytest.raises(ValueError, match=rf"geometries 0 and {n} are the same.* data join"):
        split(join([free, tested]))
    assert set(merge_copies(join([free, tested])).role) == {"test"}


def test_near_copies_are_pairs_of_what_hardly_differs(part) -> None:
    n = part.n_geometries
    both = join([part, changed(part, 8, 3)])
    pairs = near_copies(both, np.arange(n), np.arange(n, 2 * n))
    np.testing.assert_array_equal(pairs, np.stack([np.arange(n), np.arange(n, 2 * n)], axis=1))
    shaken = replace(part, positions=part.positions + 0.05)
    shaken.positions += np.random.default_rng(0).normal(size=shaken.positions.shape) * 0.2
    assert len(near_copies(join([part, shaken]), np.arange(n), np.arange(n, 2 * n))) == 0


def test_rounded_copies_are_found_and_merged_without_superposing_them_one_by_one(
    part, monkeypatch
) -> None:
    """Every label is in one of several copies, which one at a time would take minutes to join."""
    energy, forces = part.labels["wb97x"].energy, part.labels["wb97x"].forces
    empty = Labels.empty(part.n_geometries, len(part.numbers))
    parts = [
        replace(part, labels={"wb97x": labels}, positions=np.round(part.positions, decimals))
        for decimals, labels in ((10, empty), (7, Labels(energy, empty.forces)), (6, empty))
    ]
    parts[2].labels = {"wb97x": Labels(empty.energy, forces)}
    joined = join(parts)
    monkeypatch.setattr(copies, "superposed", None)
    merged = merge_copies(joined)
    assert merged.n_geometries == part.n_geometries
    np.testing.assert_array_equal(merged.labels["wb97x"].energy, energy)
    np.testing.assert_allclose(merged.labels["wb97x"].forces, forces, atol=5e-3)
    assert len(near_between(joined, [part.n_geometries] * 3)) == 0
    joined.labels["wb97x"].energy[-part.n_geometries :] = energy + 0.03
    with pytest.raises(ValueError, match=r"wb97x energies differ by 0\.03 eV"):
        merge_copies(joined)
