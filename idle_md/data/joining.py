"""Stores made of ASE objects, and one store made of several."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idle_md.data.identity.copies import geometry_ids, turnings
from idle_md.data.manifest import Manifest
from idle_md.data.store import Labels, Store
from idle_md.states import CHARGE, plain, total_charge

RANKS = ("test", "ood", "validation", "train")
"""Roles, those that a geometry keeps before others where copies have several."""
ENERGY_GAP, FORCE_GAP, STRESS_GAP = 0.02, 0.1, 1e-3
"""What labels of copies may differ by, in eV, eV/angstrom and eV/angstrom^3: rounding, not another
state."""
_PIECE = 20_000  # copies whose labels are turned at a time


def from_atoms(images: Sequence[Atoms], group: Sequence[str], role: str = "") -> Store:
    """Make a store without labels of ASE objects; their ``info`` becomes columns.

    Parameters
    ----------
    images
        Geometries; ``info["charge"]``, or a like name, is the total charge.
    group
        Name of the molecule of each.
    role
        Of all of them.
    """
    keys = dict.fromkeys(key for a in images for key in a.info if plain(key) not in CHARGE)
    return Store(
        numbers=np.concatenate([atoms.numbers for atoms in images]).astype(np.int64),
        positions=np.concatenate([atoms.positions for atoms in images]),
        offsets=np.concatenate([[0], np.cumsum([len(atoms) for atoms in images])]),
        cell=np.array([np.asarray(atoms.cell) for atoms in images]),
        pbc=np.array([atoms.pbc for atoms in images]),
        charge=np.array([total_charge(atoms.info) for atoms in images], dtype=np.int64),
        group=np.array(group),
        role=np.full(len(images), role),
        labels={},
        info={key: np.array([atoms.info.get(key, "") for atoms in images]) for key in keys},
    )


def join(stores: Sequence[Store]) -> Store:
    """Put stores one after the other; what one of them lacks is missing there.

    Name, description and licence are those of the first. A level keeps the first description.

    Raises
    ------
    ValueError
        If there is none, or a level is calculated differently in two of them.
    """
    if not stores:
        raise ValueError("nothing to join: give at least one data set")
    firsts = np.cumsum([0, *(len(store.numbers) for store in stores[:-1])])
    fidelities = dict.fromkeys(name for store in stores for name in store.fidelities)
    columns = dict.fromkeys(key for store in stores for key in store.info)

    def flat(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(store, name) for store in stores])

    ends = [store.offsets[1:] + first for store, first in zip(stores, firsts, strict=True)]
    return Store(
        **{name: flat(name) for name in ("numbers", "positions", "cell", "pbc", "charge")},
        group=flat("group"),
        role=flat("role"),
        offsets=np.concatenate([[0], *ends]),
        labels={name: _labels(stores, name) for name in fidelities},
        info={key: _column(stores, key) for key in columns},
        manifest=_manifest(stores),
    )


def merge_copies(store: Store) -> Store:
    """Keep one of every geometry, the first, with the labels of all its copies.

    Of their roles, ``test`` comes first, then ``ood``, ``validation`` and ``train``: what one data
    set holds out is not trained on because another one has it too.

    Copies are geometries whose atoms are apart by at most 2e-4 angstrom after they were turned,
    moved, mirrored or renumbered; forces and stresses are turned with them. Where several copies
    have the same label, the first counts.

    Warns
    -----
    UserWarning
        Geometries to train on become held-out ones.

    Raises
    ------
    ValueError
        Copies of a geometry have different labels of one level.
    """
    ids = geometry_ids(store)
    first = np.unique(ids, return_index=True)[1][ids]
    copies = np.flatnonzero(first != np.arange(store.n_geometries))
    merged = store.select(np.arange(store.n_geometries))
    for turn in _turns(first[copies]):
        for part in np.array_split(copies[turn], -(-len(turn) // _PIECE)):
            _complete(merged, first[part], part)
    held_out = _keep_roles(merged, first)
    if len(held_out):
        some = ", ".join(dict.fromkeys(merged.group[held_out].tolist()))
        warnings.warn(
            f"{len(held_out)} geometries have the role train in one place and are held out in "
            f"another ({some}): they are held out",
            stacklevel=2,
        )
    return merged.select(first == np.arange(store.n_geometries))


def _turns(values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Places of values: of every value the first, then of every one the second, and so on."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    earlier = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    return [np.sort(order[earlier == turn]) for turn in range(int(earlier.max(initial=-1)) + 1)]


def _complete(store: Store, firsts: NDArray[np.int64], copies: NDArray[np.int64]) -> None:
    """Give geometries, each once, the labels that their copies have and they have not."""
    counts, offsets = store.n_atoms[firsts], store.offsets
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(len(firsts)), counts)
    mine = offsets[firsts][owner] + np.arange(ends[-1]) - (ends - counts)[owner]
    turned = list(turnings(store, firsts, copies))
    its = offsets[copies][owner] + np.concatenate([each.order for each in turned])
    rotations = np.array([each.rotation for each in turned])
    for name, labels in store.labels.items():
        forces = np.einsum("ai,aij->aj", labels.forces[its], rotations[owner])
        forces = forces.astype(labels.forces.dtype)
        apart = np.abs(labels.forces[mine] - forces).max(axis=1)
        stresses = labels.stress[copies]
        for place in np.flatnonzero(np.isfinite(stresses[:, 0])):
            stresses[place] = turned[place].stress(stresses[place])
        strained = np.abs(labels.stress[firsts] - stresses).max(axis=1)
        gaps = {
            "energies": (np.abs(labels.energy[firsts] - labels.energy[copies]), ENERGY_GAP, "eV"),
            "forces": (np.maximum.reduceat(apart, ends - counts), FORCE_GAP, "eV/angstrom"),
            "stresses": (strained, STRESS_GAP, "eV/angstrom^3"),
        }
        for place in np.flatnonzero(np.any([gap > most for gap, most, _ in gaps.values()], axis=0)):
            told = [
                f"{kind} differ by {gap[place]:.4g} {unit}"
                for kind, (gap, most, unit) in gaps.items()
                if gap[place] > most
            ]
            raise ValueError(
                f"geometries {firsts[place]} and {copies[place]} are copies "
                f"({store.group[firsts[place]]}), but their {name} {' and '.join(told)}; give the "
                "wrong one's level another name, or remove it"
            )
        for have, rows, found in (
            (labels.energy, firsts, labels.energy[copies]),
            (labels.forces, mine, forces),
            (labels.stress, firsts, stresses),
        ):
            have[rows] = np.where(np.isnan(have[rows]), found, have[rows])


def _keep_roles(store: Store, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give every first geometry the first role of its copies; held out are those with train too."""
    ranks = np.array([_rank(role) for role in store.role.tolist()])
    order = np.lexsort((ranks, first))  # stable: of equal ranks the first
    starts = np.flatnonzero(np.diff(first[order], prepend=-1))
    firsts = first[order[starts]]
    store.role[firsts] = store.role[order[starts]]
    trained = np.unique(first[ranks == RANKS.index("train")])
    return firsts[np.isin(firsts, trained) & np.isin(store.role[firsts], ("test", "ood"))]


def _rank(role: str) -> int:
    return RANKS.index(role) if role in RANKS else len(RANKS) + (role == "")


def check_copies(store: Store, fidelities: Sequence[str], ids: NDArray[np.int64]) -> None:
    """Check that geometries of the same nuclei have the same labels, whatever their charge.

    Parameters
    ----------
    store
        Geometries, G of them.
    fidelities
        Whose labels.
    ids
        Numbers of their nuclei (G,), see :func:`~idle_md.data.identity.nuclear_ids`.

    Raises
    ------
    ValueError
        Two of them have energies of one level that are apart by more than 0.02 eV.
    """
    for fidelity in fidelities:
        known = np.flatnonzero(store.has_energy(fidelity))
        energy = store.labels_of(fidelity).energy[known]
        order = np.lexsort((energy, ids[known]))
        start = np.flatnonzero(np.diff(ids[known][order], prepend=-1))
        gap = np.subtract(
            np.maximum.reduceat(energy[order], start), np.minimum.reduceat(energy[order], start)
        )
        if gap.max(initial=0.0) > ENERGY_GAP:
            worst = int(gap.argmax())
            ends = np.append(start[1:], len(order))
            one, other = sorted(known[order[[start[worst], ends[worst] - 1]]].tolist())
            charges = store.charge[one], store.charge[other]
            raise ValueError(
                f"geometries {one} and {other} ({store.group[one]}) are the same nuclei, but their "
                f"{fidelity} energies differ by {gap[worst]:.4g} eV"
                + (
                    f": their charges are {charges[0]} and {charges[1]}, which a model does not "
                    "see; train on geometries of one charge"
                    if charges[0] != charges[1]
                    else "; remove the wrong one, or give it another level's name"
                )
            )


def _labels(stores: Sequence[Store], name: str) -> Labels:
    parts = [
        store.labels.get(name) or Labels.empty(store.n_geometries, len(store.numbers))
        for store in stores
    ]
    return Labels(
        np.concatenate([part.energy for part in parts]),
        np.concatenate([part.forces for part in parts]),
        np.concatenate([part.stress for part in parts]),
    )


def _column(stores: Sequence[Store], key: str) -> NDArray[Any]:
    found = [store.info[key] for store in stores if key in store.info]
    is_text = any(column.dtype.kind == "U" for column in found)
    missing: Any = "" if is_text else np.nan
    return np.concatenate(
        [
            np.full(store.n_geometries, missing)
            if key not in store.info
            else store.info[key].astype(np.str_)
            if is_text
            else store.info[key]
            for store in stores
        ]
    )


def _manifest(stores: Sequence[Store]) -> Manifest:
    levels: Mapping[str, Any] = {}
    for store in stores:
        for name, level in store.manifest.levels.items():
            known = levels.get(name)
            if known is not None and known.title.casefold() != level.title.casefold():
                raise ValueError(
                    f"{name!r} is {known.title} in one data set and {level.title} in another: "
                    "give one of them another name"
                )
        levels = {**store.manifest.levels, **levels}
    return stores[0].manifest.model_copy(update={"levels": levels})
