"""Stretched bonds, protons on their way, and molecules among waters."""

from itertools import product

import ase.build
import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii, vdw_radii

from idle_md.label.calculation import calculate
from idle_md.label.calculator import LevelCalculator
from idle_md.label.levels import find_level
from idle_md.label.sampling import SampleConfig, from_smiles, stretches
from idle_md.label.sampling.conformers import embed, with_hydrogens
from idle_md.label.sampling.dimers import FARTHEST, NEAREST, clusters
from idle_md.label.sampling.recipe import sample_molecule
from idle_md.label.sampling.stretches import LONGEST, open_bonds
from idle_md.label.sampling.transfers import (
    NARROWEST,
    WIDEST,
    acceptors,
    donors,
    transfers,
)


@pytest.mark.parametrize(("formula", "number"), [("CH3CH2OH", 8), ("C6H6", 6), ("C2H4", 5)])
def test_bonds_in_rings_are_not_stretched(formula, number) -> None:
    assert len(open_bonds(ase.build.molecule(formula))) == number


@pytest.mark.parametrize("highest", [0.5, 5.0])
def test_one_bond_is_longer_and_nothing_else(monkeypatch, highest) -> None:
    monkeypatch.setattr(stretches, "JITTER", 0.0)
    monkeypatch.setattr(stretches, "HIGHEST", highest)
    start, level = ase.build.molecule("CH3CHO"), find_level("gfnff")
    bonds = open_bonds(start)
    before = np.array([start.get_distance(first, second) for first, second, _ in bonds])
    kept, lowest = level.keeping_bonds(start, 0), calculate(level, start).energy
    stream = stretches.stretches([start], LevelCalculator(level), np.random.default_rng(0))
    longest = []
    for _ in range(40):
        atoms = next(stream)
        after = np.array([atoms.get_distance(first, second) for first, second, _ in bonds])
        ratios = np.sort(after / before)
        np.testing.assert_allclose(ratios[:-1], 1.0, atol=1e-9)
        assert 1.0 < ratios[-1] <= LONGEST
        assert calculate(kept, atoms).energy <= lowest + highest
        longest.append(ratios[-1])
    assert max(longest) > (1.6 if highest == 5.0 else 1.1)


def test_who_gives_a_proton_and_who_takes_it() -> None:
    acetamide, ammonia = ase.build.molecule("CH3CONH2"), ase.build.molecule("NH3")
    symbols = acetamide.get_chemical_symbols()
    assert {(symbols[donor], symbols[proton]) for donor, proton in donors(acetamide)} == {
        ("N", "H")
    }
    assert [symbols[index] for index, _ in acceptors(acetamide)] == ["O"]  # its N is flat
    ((index, away),) = acceptors(ammonia)
    hydrogens = ammonia.positions[1:] - ammonia.positions[index]
    assert (hydrogens @ away < 0).all()
    benzene = ase.build.molecule("C6H6")
    assert next(transfers([benzene], [ammonia], np.random.default_rng(0)), None) is None


def test_protons_are_between_the_molecules() -> None:
    methanol, ammonia = ase.build.molecule("CH3OH"), ase.build.molecule("NH3")
    stream = transfers([methanol], [ammonia], np.random.default_rng(0))
    rooms, acids = [], []
    for _ in range(40):
        pair = next(stream)
        assert pair.numbers.tolist() == [*methanol.numbers, *ammonia.numbers]
        donor, proton, acceptor = _bridge(pair, len(methanol))
        acids.append(pair.symbols[donor])
        lengths = [pair.get_distance(proton, each) for each in (donor, acceptor)]
        bonds = covalent_radii[1] + covalent_radii[pair.numbers[[donor, acceptor]]]
        assert (lengths >= bonds - 1e-9).all()
        rooms.append(sum(lengths) - bonds.sum())
    assert NARROWEST <= min(rooms) < 0.5
    assert 0.8 < max(rooms) <= WIDEST
    assert set(acids) == {"O", "N"}


def test_nothing_is_in_the_way_of_a_proton() -> None:
    """The hydrogen bond within salicylic acid leaves no room for another one."""
    acid, base = (embed(with_hydrogens(smiles), 1, 0) for smiles in ("OC(=O)c1ccccc1O", "N"))
    stream = transfers(acid, base, np.random.default_rng(0))
    for _ in range(20):
        pair = next(stream)
        donor, proton, acceptor = _bridge(pair, len(acid[0]))
        apart = _contacts(pair, pair)
        apart[proton], apart[:, proton] = np.inf, np.inf
        apart[donor, acceptor] = apart[acceptor, donor] = np.inf
        assert apart[: len(acid[0]), len(acid[0]) :].min() > NEAREST


def _bridge(pair: Atoms, n: int) -> tuple[int, int, int]:
    """Return donor, proton and acceptor on one line; the first molecule has n atoms."""
    polar, hydrogens = (
        np.flatnonzero(np.isin(pair.numbers, (7, 8))),
        np.flatnonzero(pair.numbers == 1),
    )
    found = [
        (donor, proton, acceptor)
        for donor, proton, acceptor in product(polar, hydrogens, polar)
        if (donor < n) == (proton < n) != (acceptor < n)
        and pair.get_angle(donor, proton, acceptor) > 179.99
    ]
    (bridge,) = found
    return bridge


def test_waters_touch_the_cluster() -> None:
    methane, water = ase.build.molecule("CH4"), ase.build.molecule("H2O")
    stream = clusters([methane], [water], 3, np.random.default_rng(0))
    for _ in range(20):
        cluster = next(stream)
        assert cluster.get_chemical_formula() == "CH10O3"
        for end in (8, 11, 14):
            before, added = cluster[: end - 3], cluster[end - 3 : end]
            assert NEAREST - 1e-6 <= _contacts(before, added).min() <= FARTHEST + 1e-6
            assert added.get_distance(0, 1) == pytest.approx(water.get_distance(0, 1))


def _contacts(one: Atoms, other: Atoms) -> np.ndarray:
    radii = vdw_radii[one.numbers][:, None] + vdw_radii[other.numbers]
    return np.linalg.norm(one.positions[:, None] - other.positions, axis=2) / radii


def test_in_one_store() -> None:
    """As many of each as asked for, groups of one composition each, everything by the seed."""
    methanol, ammonia = from_smiles(["CO methanol", "N ammonia"])
    config = SampleConfig(
        frames=9, mix={"stretches": 1}, dimers=2, transfers=3, clusters=5, waters=2, level="gfnff"
    )
    store = sample_molecule(methanol, ammonia, config)
    found = list(zip(store.group.tolist(), store.info["sampling"].tolist(), strict=True))
    assert {each: found.count(each) for each in found} == {
        ("methanol", "start"): 1,
        ("methanol", "stretches"): 8,
        ("methanol+ammonia", "dimers"): 2,
        ("methanol+ammonia", "transfers"): 3,
        ("methanol+water", "clusters"): 2,
        ("methanol+2water", "clusters"): 3,
    }
    assert store.info["smiles"][-1] == "CO.O.O"
    for group in set(store.group.tolist()):
        assert len(set(store.n_atoms[store.group == group].tolist())) == 1
    again = sample_molecule(methanol, ammonia, config)
    np.testing.assert_array_equal(again.positions, store.positions)
    methane = from_smiles(["C methane"])[0]
    apolar = sample_molecule(methane, methane, config.model_copy(update={"dimers": 0}))
    assert set(apolar.info["sampling"]) == {"start", "stretches", "clusters"}
