"""From the units of a file, which are checked, to eV and angstrom."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from idle_md.data.importers import checks
from idle_md.data.importers.checks import Energies, Pairs
from idle_md.data.importers.contents import Contents
from idle_md.data.importers.gfn2 import beside_gfn2
from idle_md.data.importers.units import (
    ENERGY,
    LENGTH,
    Units,
    force_factor,
    known,
    stress_factor,
)
from idle_md.data.store import Labels, Store

_BOND = 0.65, 0.65 / LENGTH["bohr"]  # over covalent lengths: fits angstrom or bohr, never both
_STIFFNESS = 6.0, 100.0  # eV/angstrom^2
_SLACK = 3.0
_ALIKE, _FACTOR = 0.9, 1.7  # correlation and slope of forces beside GFN2-xTB's
_MOST_VIRIAL = 20.0  # eV per atom: a terapascal in a cell of metal
_CLOSE = 1.37  # the square root of angstrom over bohr


def converted(path: Path, contents: Contents, given: Units) -> Store:
    """The store in eV and angstrom.

    Raises
    ------
    ValueError
        A unit is unknown, not clear, or not what the numbers look like.
    """
    length = _length_unit(path, contents, given)
    factor = LENGTH[length]
    read = contents.store
    read = replace(read, positions=factor * read.positions, cell=factor * read.cell)
    pairs = {name: checks.pairs(read, name) for name in read.labels}
    energy = _energy_unit(path, contents, given, pairs, factor)
    forces = given.forces or _stated_forces(contents) or f"{energy}/{length}"
    sign = -1 if given.gradients else 1
    if not given.trusted:
        for name, each in pairs.items():
            _check_net_force(path, read, name)
            _check_pairs(path, name, each, energy, forces, sign)
    scale = np.float32(sign * force_factor(forces))
    stress, factors = _stress_factors(contents, given, read, energy, length)
    labels = {
        name: Labels(ENERGY[energy] * each.energy, scale * each.forces, factors[name] * each.stress)
        for name, each in read.labels.items()
    }
    store = replace(read, labels=labels)
    has_stress = any(store.has_stress(name).any() for name in labels)
    units = [energy, length, forces, *([stress] if has_stress else [])]
    notes = [f"Imported from {path.name}: {', '.join(units)}", *contents.notes]
    if not given.trusted:
        for name in labels:
            is_virial = name in contents.virials
            what = f"virials in {energy}" if is_virial else f"stresses in {stress}"
            notes += _checked_stress(path, store, name, what)
        unsure = [name for name in pairs if _is_unchecked(read, name, pairs[name])]
        notes += [_beside_gfn2(path, store, name, forces, sign) for name in unsure]
    return _merged(store, contents.base, "; ".join(notes))


def _stress_factors(
    contents: Contents, given: Units, read: Store, energy: str, length: str
) -> tuple[str, dict[str, Any]]:
    """The unit of stresses, and what makes those of each fidelity eV/angstrom^3.

    That is a number, or one for each geometry (G, 1) where they are virials.
    """
    unit = given.stress or contents.stress_unit or f"{energy}/{length}^3"
    sign, of_virials = -1 if given.flipped else 1, -ENERGY[energy] / read.volume[:, None]
    return unit, {
        name: sign * (of_virials if name in contents.virials else stress_factor(unit))
        for name in read.labels
    }


def _checked_stress(path: Path, store: Store, name: str, what: str) -> list[str]:
    """What could not be checked of stresses, which are in eV/angstrom^3 by now, but were ``what``.

    Raises
    ------
    ValueError
        They are too large, or not what the energies of strained boxes say.
    """
    largest = checks.virial_per_atom(store, name)
    if np.isnan(largest):
        return []
    option = "--energy-unit" if what.startswith("virials") else "--stress-unit"
    remedies = f"give another {option}, or take them with --trust-units"
    if largest > _MOST_VIRIAL:
        raise ValueError(
            f"{path}: {name} {what} make {largest:.3g} eV per atom, more than matter stands; "
            f"{remedies}"
        )
    slope = checks.strain_slope(store, name)
    if slope is None:
        return [
            f"not checked: sign and unit of the {name} {what} (there are no ten pairs of like "
            "boxes that differ in strain); they count as minus the virial over the volume, "
            "positive under tension"
        ]
    if 1 / _CLOSE < slope < _CLOSE:
        return []
    sign = "give --flip-stress (or leave it out), and perhaps " if slope < 0 else ""
    raise ValueError(
        f"{path}: {name} energies of strained boxes differ by {slope:.3g} times what the {what} "
        f"say; {sign}{remedies}"
    )


def _stated_forces(contents: Contents) -> str | None:
    if contents.force_unit is None:
        return None
    energy, _, length = contents.force_unit.rpartition("/")
    units = known(energy, ENERGY, "--force-unit"), known(length, LENGTH, "--force-unit")
    return "/".join(units)


def _is_unchecked(store: Store, name: str, pairs: Pairs | None) -> bool:
    return pairs is None and bool(store.has_forces(name).any())


def _beside_gfn2(path: Path, store: Store, name: str, forces: str, sign: int) -> str:
    """Compare forces that nothing else can check with GFN2-xTB, and say how that went.

    Raises
    ------
    ValueError
        They are alike but for a factor.
    """
    found = beside_gfn2(store, name)
    if found is None or abs(found[1]) < _ALIKE:
        why = "tblite is not installed" if found is None else "GFN2-xTB's are not alike"
        return (
            f"not checked: sign and unit of the {name} forces (there are no ten pairs of close "
            f"geometries of a molecule, and {why}); calculate some of them yourself"
        )
    slope, correlation = found
    remedies = []
    if slope < 0:
        remedies.append("leave out --gradients" if sign < 0 else "give --gradients")
    if not 1 / _FACTOR < abs(slope) < _FACTOR:
        likely = _force_units_near(force_factor(forces) / abs(slope))
        remedies.append(f"give --force-unit {' or '.join(likely) or 'ENERGY/LENGTH'}")
    if remedies:
        raise ValueError(
            f"{path}: the {name} forces in {forces} are {slope:.3g} times those of GFN2-xTB "
            f"(correlation {correlation:.2f}); {' and '.join(remedies)}, or take them with "
            "--trust-units"
        )
    figures = f"{slope:.2f} times, correlation {correlation:.2f}"
    return f"{name} forces are like those of GFN2-xTB ({figures})"


def _merged(store: Store, base: Store | None, description: str) -> Store:
    if base is None:
        notes = [description, *filter(None, [store.manifest.description])]
        manifest = store.manifest.model_copy(update={"description": "; ".join(notes)})
        return replace(store, manifest=manifest)
    levels = base.manifest.levels | store.manifest.levels
    return replace(
        store,
        labels=base.labels | store.labels,
        manifest=base.manifest.model_copy(update={"levels": levels}),
    )


def _length_unit(path: Path, contents: Contents, given: Units) -> str:
    option, stated = "--length-unit", given.length or contents.length_unit
    unit = known(stated, LENGTH, option) if stated else None
    ratio, least = checks.contacts(contents.store)
    fitting = _like_bonds(ratio)
    if unit and unit in _like_bonds(least):
        return unit
    if unit and (given.trusted or not fitting or unit in fitting):
        return unit
    figures = f"the shortest distances are {ratio:.3g} times those of covalent bonds in angstrom"
    if unit:
        raise ValueError(
            f"{path}: the lengths look like {fitting[0]}, not {unit}, or no molecule is whole: "
            f"{figures}; see what the source of the file says, and give {option} {fitting[0]}, or "
            f"{option} {unit} with --trust-units"
        )
    if not fitting:
        raise ValueError(f"{path}: the unit of the lengths is not clear: {figures}; give {option}")
    return fitting[0]


def _like_bonds(ratio: float) -> list[str]:
    """Units in which shortest distances are as long as covalent bonds."""
    return [name for name, factor in LENGTH.items() if _BOND[0] <= factor * ratio < _BOND[1]]


def _energy_unit(
    path: Path, contents: Contents, given: Units, pairs: dict[str, Pairs | None], length: float
) -> str:
    """The unit that is stated, unless the numbers gainsay it; else the one that they suggest."""
    option, stated = "--energy-unit", given.energy or contents.energy_unit
    unit = known(stated, ENERGY, option) if stated else None
    if unit and given.trusted:
        return unit
    store = contents.store
    seen = {n: checks.energies(store, n) for n in store.labels if store.has_energy(n).any()}
    figures = "; ".join(f"{name} {each.figures}" for name, each in seen.items()) or "none"
    total = {n: u for n, each in seen.items() for u, f in ENERGY.items() if each.are_total(f)}
    likely = sorted(set(total.values()) or _by_stiffness(pairs, given, length))
    if unit:
        reason = _against(unit, seen, total)
        if reason:
            raise ValueError(
                f"{path}: the energies are not in {unit}: {reason} ({figures}); give another "
                f"{option}, or {option} {unit} with --trust-units"
            )
        sure = given.energy or contents.certain or unit in likely
        if sure or any(each.are_atomisation(ENERGY[unit]) for each in seen.values()):
            return unit
    elif len(likely) == 1:
        return likely[0]
    raise ValueError(
        f"{path}: the unit of the energies is not clear ({figures}): the numbers suggest "
        f"{' and '.join(likely) or 'none'} of {', '.join(ENERGY)}; "
        + "; ".join([*contents.notes, f"give {option}"])
    )


def _against(unit: str, seen: dict[str, Energies], total: dict[str, str]) -> str:
    """What speaks against a unit, if anything does."""
    for name, each in seen.items():
        if total.get(name, unit) != unit:
            return f"{name} looks like total energies in {total[name]}"
        if name not in total and each.are_too_low(ENERGY[unit]):
            return f"all electrons together do not give as much as {name}"
    return ""


def _by_stiffness(pairs: dict[str, Pairs | None], given: Units, length: float) -> set[str]:
    """Units of energy in which every molecule is as stiff as molecules are."""
    found = [each.stiffness / length for each in pairs.values() if each and not given.forces]
    low, high = _STIFFNESS
    return {
        u for u, factor in ENERGY.items() if found and all(low < factor * x < high for x in found)
    }


def _check_net_force(path: Path, store: Store, name: str) -> None:
    net = checks.net_force(store, name)
    if net > 0.1:
        raise ValueError(
            f"{path}: the {name} forces do not add up to zero (the net force is {100 * net:.0f} % "
            "of the sum of their lengths); see whether they are of these atoms in this order, or "
            "take them with --trust-units"
        )


def _check_pairs(
    path: Path, name: str, pairs: Pairs | None, energy: str, forces: str, sign: int
) -> None:
    if pairs is None:
        return
    factor = force_factor(forces)
    slope, stiffness = sign * ENERGY[energy] / factor * pairs.slope, factor * pairs.stiffness
    figures = f"({pairs.n_pairs} pairs of close geometries, spread {100 * pairs.spread:.0f} %)"
    remedies = []
    if not 1 / _CLOSE < slope < _CLOSE:
        problem = f"energies differ by {slope:.3g} times what the forces in {forces} say"
        if slope < 0:
            remedies.append("leave out --gradients" if sign < 0 else "give --gradients")
        if not 1 / _CLOSE < abs(slope) < _CLOSE:
            units = _force_units_near(factor * abs(slope))
            remedies.append(f"give --force-unit {' or '.join(units) or 'ENERGY/LENGTH'}")
    elif not _STIFFNESS[0] / _SLACK < stiffness < _SLACK * _STIFFNESS[1]:
        problem = f"forces in {forces} make force constants of {stiffness:.3g} eV/angstrom^2"
        remedies.append("give another --energy-unit")
    if remedies:
        raise ValueError(
            f"{path}: the {name} {problem} {figures}; {' and '.join(remedies)}, or take them with "
            "--trust-units"
        )


def _force_units_near(factor: float) -> list[str]:
    names = [f"{energy}/{length}" for energy, length in product(ENERGY, LENGTH)]
    return [each for each in names if 1 / _CLOSE < factor / force_factor(each) < _CLOSE]
