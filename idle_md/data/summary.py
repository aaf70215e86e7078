"""What a store holds, in numbers."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from idle_md.data.splits import ROLES
from idle_md.data.states import unpaired_of
from idle_md.data.store import Store
from idle_md.elements import symbols
from idle_md.fidelity import LevelOfTheory
from idle_md.units import GPA

Range = tuple[float, float]


class FidelitySummary(BaseModel):
    """Labels of one fidelity; a range is lowest and highest, none where there are no labels."""

    level: LevelOfTheory
    """Level of theory."""
    n_energies: dict[str, int]
    """Energy labels by role."""
    n_forces: dict[str, int]
    """Geometries with forces by role."""
    n_stress: dict[str, int]
    """Geometries with a stress by role."""
    energy_range_ev: Range | None
    """Total energies in eV."""
    energy_range_ev_per_atom: Range | None
    """Total energies in eV per atom."""
    force_range_ev_per_angstrom: Range | None
    """Lengths of the force vectors in eV/angstrom."""
    force_mean_ev_per_angstrom: float | None
    """Mean absolute force component in eV/angstrom."""
    pressure_range_gpa: Range | None
    """Pressures in GPa, minus a third of the trace of the stress."""
    cpu_seconds: float | None
    """CPU seconds that all labels together cost."""


class Summary(BaseModel):
    """Counts, ranges and levels of theory of a data set."""

    name: str
    description: str
    licence: str
    n_geometries: int
    n_groups: int
    """Number of molecules."""
    n_atoms: int
    """Number of atoms of all geometries together."""
    elements: list[str]
    atoms_per_geometry: tuple[int, int]
    """Size of the smallest and the largest geometry."""
    mean_atoms_per_geometry: float
    n_periodic: int
    """Number of geometries that are periodic in some direction."""
    n_geometries_by_role: dict[str, int]
    n_geometries_by_charge: dict[int, int]
    """Number of geometries of each total charge."""
    n_geometries_by_unpaired_electrons: dict[int, int]
    """Number of geometries of each spin; none are unpaired where nothing is declared."""
    fidelities: dict[str, FidelitySummary]


def summarise(store: Store) -> Summary:
    """Count and measure what a store holds; geometries without a role count as ``none``."""
    return Summary(
        name=store.manifest.name,
        description=store.manifest.description,
        licence=store.manifest.licence,
        n_geometries=store.n_geometries,
        n_groups=len(np.unique(store.group)),
        n_atoms=len(store.numbers),
        elements=symbols(store.elements),
        atoms_per_geometry=(int(store.n_atoms.min()), int(store.n_atoms.max())),
        mean_atoms_per_geometry=float(store.n_atoms.mean()),
        n_periodic=int(store.pbc.any(axis=1).sum()),
        n_geometries_by_role=_by_role(store, np.ones(store.n_geometries, dtype=np.bool_)),
        n_geometries_by_charge=dict(zip(*_counted(store.charge), strict=True)),
        n_geometries_by_unpaired_electrons=dict(zip(*_counted(unpaired_of(store)), strict=True)),
        fidelities={name: _fidelity(store, name) for name in store.fidelities},
    )


def _counted(values: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    unique, counts = np.unique(values, return_counts=True)
    return unique.tolist(), counts.tolist()


def _fidelity(store: Store, name: str) -> FidelitySummary:
    labels, level = store.labels_of(name), store.manifest.levels[name]
    has_energy, has_forces = store.has_energy(name), store.has_forces(name)
    energies = labels.energy[has_energy]
    forces = labels.forces[np.repeat(has_forces, store.n_atoms)].astype(np.float64)
    pressures = -labels.stress[store.has_stress(name), :3].mean(axis=1) / GPA
    n_labels, cost = int(store.has_label(name).sum()), level.cpu_seconds_per_label
    return FidelitySummary(
        level=level,
        n_energies=_by_role(store, has_energy),
        n_forces=_by_role(store, has_forces),
        n_stress=_by_role(store, store.has_stress(name)),
        energy_range_ev=_range(energies),
        energy_range_ev_per_atom=_range(energies / store.n_atoms[has_energy]),
        force_range_ev_per_angstrom=_range(np.linalg.norm(forces, axis=1)),
        force_mean_ev_per_angstrom=float(np.abs(forces).mean()) if len(forces) else None,
        pressure_range_gpa=_range(pressures),
        cpu_seconds=None if cost is None else cost * n_labels,
    )


def _by_role(store: Store, mask: NDArray[np.bool_]) -> dict[str, int]:
    present = set(store.role.tolist())
    counts = {
        role: int((mask & (store.role == role)).sum())
        for role in (*ROLES, *sorted(present - {*ROLES, ""}), "")
        if role in present
    }
    return {role or "none": count for role, count in counts.items()}


def _range(values: NDArray[np.float64]) -> Range | None:
    return (float(values.min()), float(values.max())) if len(values) else None
