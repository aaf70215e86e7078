"""Energies of isolated atoms."""

from pathlib import Path

from ase import Atoms

from idle_md.data import Store
from idle_md.elements import symbols
from idle_md.label.journal import locked
from idle_md.label.levels import find_level
from idle_md.label.merging import store_lock
from idle_md.label.programs.base import LabelError

UNPAIRED = {
    **dict.fromkeys(("H", "Li", "B", "F", "Na", "Al", "Cl", "K", "Ga", "Br", "In", "I"), 1),
    **dict.fromkeys(("C", "O", "Si", "S", "Ge", "Se", "Sn", "Te"), 2),
    **dict.fromkeys(("N", "P", "As", "Sb"), 3),
    **dict.fromkeys(("He", "Be", "Ne", "Mg", "Ar", "Ca", "Zn", "Kr", "Sr", "Xe"), 0),
}
"""Unpaired electrons of the ground states."""


def label_isolated_atoms(path: Path, level: str, fidelity: str) -> dict[str, float]:
    """Calculate the elements of a store as isolated atoms, and write them to its manifest.

    Returns
    -------
    dict
        Energies in eV by element.

    Raises
    ------
    ValueError
        If an element's ground state is not known here, or a calculation fails.
    """
    calculator, store = find_level(level), Store.read(path)
    energies = {}
    for symbol in symbols(store.elements):
        if symbol not in UNPAIRED:
            raise ValueError(f"the number of unpaired electrons of {symbol} is not known here")
        try:
            result = calculator.calculate(Atoms(symbol), 0, UNPAIRED[symbol])
        except LabelError as error:
            raise ValueError(f"isolated {symbol} at {level}: {error}") from error
        energies[symbol] = result.energy
    with locked(store_lock(path), "isolated atoms", wait=True):
        store = Store.read(path)
        known = store.manifest.levels[fidelity]
        described = known.model_copy(update={"isolated_atoms_ev": energies})
        levels = {**store.manifest.levels, fidelity: described}
        store.manifest = store.manifest.model_copy(update={"levels": levels})
        store.write(path)
    return energies
