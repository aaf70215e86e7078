"""All geometries of one molecule."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS

from idle_md.bonds import fragments, is_sound
from idle_md.data import Store, from_atoms, join
from idle_md.label.calculator import LevelCalculator
from idle_md.label.descriptor import Seen
from idle_md.label.levels import find_level
from idle_md.label.sampling.config import SampleConfig
from idle_md.label.sampling.conformers import embed, with_hydrogens
from idle_md.label.sampling.dimers import clusters, dimers
from idle_md.label.sampling.dynamics import dynamics
from idle_md.label.sampling.molecule import Molecule
from idle_md.label.sampling.normal_modes import normal_modes
from idle_md.label.sampling.stretches import open_bonds, stretches
from idle_md.label.sampling.torsions import torsion_scans, torsions_of
from idle_md.label.sampling.transfers import transfers

FORCE, STEPS = 0.05, 200  # eV/angstrom at the end of a relaxation, and its LBFGS steps
TRIES = 20  # geometries for each one that is wanted
GRID = 2.0**-20  # angstrom; positions are multiples of it, which makes files half as large
Stream = Iterator[Atoms]


def sample_molecule(molecule: Molecule, partner: Molecule, config: SampleConfig) -> Store:
    """Return the geometries of a molecule, without labels.

    The first is the relaxed first conformer. All others are new, see
    :class:`~idle_md.label.descriptor.Seen`, and whole. Everything depends on the seed and the
    molecules alone. ``info`` tells the SMILES, how each was made (``sampling``: start, md, modes,
    torsions, stretches, dimers, transfers, clusters), conformer, temperature, frame and seed.

    Parameters
    ----------
    molecule
        What to sample.
    partner
        For the pairs, which are a group of their own, as are the clusters with each number of
        waters.
    config
        How, and how many.

    Raises
    ------
    ValueError
        If there is no conformer, or not as many different geometries as are wanted.
    """
    rng = np.random.default_rng([config.seed, _number(molecule.name)])
    starts = _starts(molecule, config, rng)
    seen, images = Seen(config.tolerance), [starts[0].copy()]
    seen.is_new(starts[0].numbers, starts[0].positions)
    images[0].info = {"sampling": "start", "conformer": 0}
    streams = _streams(molecule, starts, config, rng)
    whole = fragments(starts[0])
    for method, n in _quotas(config, list(streams)).items():
        parts = whole + (method == "stretches")
        images += _take(streams[method], n, seen, parts, molecule.name, method)
    monomers = _store(images, molecule, config)
    hidden = rng.permutation(len(images))[: config.test]
    monomers.role = monomers.role.astype("U16")
    monomers.role[hidden] = "test"
    pairs = _pairs(molecule, partner, starts, seen, config, rng)
    return join([monomers, *pairs, *_clusters(molecule, starts, seen, config, rng)])


def _pairs(
    molecule: Molecule,
    partner: Molecule,
    starts: Sequence[Atoms],
    seen: Seen,
    config: SampleConfig,
    rng: np.random.Generator,
) -> list[Store]:
    """Return the geometries with the partner, in one store or none."""
    if not config.dimers + config.transfers:
        return []
    others = _starts(partner, config, rng)
    both = _together([molecule, partner], f"{molecule.name}+{partner.name}")
    parts = fragments(starts[0]) + fragments(others[0])
    images = _take(dimers(starts, others, rng), config.dimers, seen, parts, both.name, "dimers")
    stream = transfers(starts, others, rng)
    first = next(stream, None) if config.transfers else None
    if first is not None:
        stream = chain([first], stream)
        images += _take(stream, config.transfers, seen, parts, both.name, "transfers")
    return [_store(images, both, config)] if images else []


def _clusters(
    molecule: Molecule,
    starts: Sequence[Atoms],
    seen: Seen,
    config: SampleConfig,
    rng: np.random.Generator,
) -> list[Store]:
    """Return the geometries among waters, a store for each number of them."""
    if not config.clusters:
        return []
    water = Molecule("water", "O")
    waters, stores = _starts(water, config, rng), []
    ends = np.round(np.linspace(0, config.clusters, config.waters + 1)).astype(int)
    for n, share in enumerate(np.diff(ends).tolist(), start=1):
        name = f"{molecule.name}+{n if n > 1 else ''}water"
        parts = fragments(starts[0]) + n
        images = _take(clusters(starts, waters, n, rng), share, seen, parts, name, "clusters")
        if images:
            stores.append(_store(images, _together([molecule, *[water] * n], name), config))
    return stores


def _together(molecules: Sequence[Molecule], name: str) -> Molecule:
    smiles = ".".join(molecule.smiles for molecule in molecules).strip(".")
    return Molecule(name, smiles, sum(molecule.charge for molecule in molecules))


def _starts(molecule: Molecule, config: SampleConfig, rng: np.random.Generator) -> list[Atoms]:
    """Return relaxed geometries to start from."""
    if molecule.starts:
        chosen = rng.permutation(len(molecule.starts))[: config.conformers]
        starts = [molecule.starts[k].copy() for k in sorted(chosen)]
    else:
        seed = int(rng.integers(1 << 31))
        starts = embed(with_hydrogens(molecule.smiles), config.conformers, seed)
    calculator = LevelCalculator(find_level(config.level), molecule.charge)
    for atoms in starts:
        atoms.calc = calculator.keeping_bonds(atoms)
        LBFGS(atoms, logfile=os.devnull).run(fmax=FORCE, steps=STEPS)
        atoms.calc = None
    return starts


def _streams(
    molecule: Molecule, starts: Sequence[Atoms], config: SampleConfig, rng: np.random.Generator
) -> dict[str, Stream]:
    """Return what the mix asks for and the molecule allows."""
    calculator = LevelCalculator(find_level(config.level), molecule.charge)
    temperatures = config.temperatures
    times = (config.timestep_fs, config.interval_fs)
    streams: dict[str, Stream] = {
        "md": dynamics(starts, calculator, temperatures, *times, rng),
        "modes": normal_modes(starts, calculator, temperatures, rng),
    }
    if molecule.smiles and not molecule.starts:
        graph = with_hydrogens(molecule.smiles)
        if torsions_of(graph):
            streams["torsions"] = torsion_scans(graph, starts, rng)
    if open_bonds(starts[0]):
        streams["stretches"] = stretches(starts, calculator, rng)
    wanted = {method: streams[method] for method in streams if config.mix.get(method)}
    return wanted or {"modes": streams["modes"]}


def _quotas(config: SampleConfig, methods: Sequence[str]) -> dict[str, int]:
    """Share the frames, less the start, by the weights of the methods that there are."""
    weights = np.array([config.mix.get(method, 1.0) or 1.0 for method in methods])
    ends = np.round((config.frames - 1) * np.cumsum(weights) / weights.sum()).astype(int)
    return dict(zip(methods, np.diff(ends, prepend=0).tolist(), strict=True))


def _take(
    stream: Stream, n: int, seen: Seen, n_fragments: int, name: str, method: str
) -> list[Atoms]:
    """Return the next n geometries that are sound and new."""
    taken: list[Atoms] = []
    for _ in range(TRIES * n):
        atoms = next(stream, None) if len(taken) < n else None
        if atoms is None:
            break
        if is_sound(atoms, n_fragments) and seen.is_new(atoms.numbers, atoms.positions):
            taken.append(atoms)
    if len(taken) < n:
        raise ValueError(
            f"{name}: only {len(taken)} of {n} geometries by {method} are whole and differ by more "
            f"than {seen.tolerance:g} angstrom: lower frames, tolerance or the temperatures"
        )
    return taken


def _store(images: Sequence[Atoms], molecule: Molecule, config: SampleConfig) -> Store:
    shared = {"charge": molecule.charge, "smiles": molecule.smiles, "seed": config.seed}
    unknown = {"sampling": "", "conformer": -1, "temperature_K": np.nan, "frame": 0}
    for atoms in images:
        atoms.positions = np.round(atoms.positions / GRID) * GRID
        atoms.info = {**unknown, **atoms.info, **shared}
    return from_atoms(images, [molecule.name] * len(images), config.role)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
