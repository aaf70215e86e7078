"""Per-element reference energies of one fidelity."""

import numpy as np
from numpy.typing import NDArray

from idle_md.data.store import Store
from idle_md.elements import atomic_numbers, symbols
from idle_md.neighbors import neighbor_list

_ALIKE = 1e-3  # eV


def fit_reference_energies(
    counts: NDArray[np.float64], energies: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least-squares energies of the elements, ``counts @ result`` being close to ``energies``.

    The solution of least norm is taken where the compositions do not tell the elements apart; an
    element that does not occur gets zero.

    Parameters
    ----------
    counts
        Number of atoms of each element, shape (G, n_elements).
    energies
        Total energies in eV, shape (G,); NaN where not labelled.

    Returns
    -------
    ndarray
        Energies in eV, shape (n_elements,).

    Raises
    ------
    ValueError
        No geometry is labelled: a fidelity with forces alone has no reference energies.
    """
    labelled = np.isfinite(energies)
    if not labelled.any():
        raise ValueError(
            "no energy labels to fit reference energies to; a fidelity with forces alone cannot "
            "predict energies"
        )
    solution = np.linalg.lstsq(counts[labelled], energies[labelled], rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)


def one_atom_frames(store: Store, fidelity: str, cutoff: float) -> dict[int, NDArray[np.float64]]:
    """Energies in eV of neutral one-atom geometries of a fidelity, by atomic number.

    One that has a periodic image of itself within the cutoff, in angstrom, is no isolated atom.
    """
    alone = (store.n_atoms == 1) & (store.charge == 0) & store.has_energy(fidelity)
    found: dict[int, list[float]] = {}
    for index in np.flatnonzero(alone).tolist():
        atoms = store.atoms(index)
        edges, _ = neighbor_list(atoms.positions, cutoff, atoms.cell[:], atoms.pbc)
        if edges.shape[1] == 0:
            energy = float(store.labels_of(fidelity).energy[index])
            found.setdefault(int(atoms.numbers[0]), []).append(energy)
    return {number: np.array(energies) for number, energies in found.items()}


def isolated_energies(store: Store, fidelity: str, cutoff: float) -> dict[int, float]:
    """Energies in eV of isolated atoms by atomic number, those that a store knows of a fidelity.

    They are those of its one-atom geometries, see :func:`one_atom_frames`, and of its manifest.

    Raises
    ------
    ValueError
        Two of an element differ by more than 1 meV.
    """
    listed = store.manifest.levels[fidelity].isolated_atoms_ev or {}
    known = {
        number: np.array([energy])
        for number, energy in zip(atomic_numbers(listed), listed.values(), strict=True)
    }
    for number, energies in one_atom_frames(store, fidelity, cutoff).items():
        known[number] = np.append(energies, known.get(number, []))
    for number, energies in known.items():
        if np.ptp(energies) > _ALIKE:
            raise ValueError(
                f"isolated {symbols([number])[0]} has {fidelity!r} energies from "
                f"{energies.min():.4f} to {energies.max():.4f} eV in one-atom geometries and the "
                "manifest: leave the right one, or give the number as reference energy"
            )
    return {number: float(energies[0]) for number, energies in known.items()}
