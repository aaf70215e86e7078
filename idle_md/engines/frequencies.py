"""Harmonic frequencies of a molecule by a deployed model, and the thermochemistry of them."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ase
import ase.io
import numpy as np
import torch
from ase import units
from ase.optimize import BFGSLineSearch
from ase.thermochemistry import IdealGasThermo

from idle_md.deploy import DeployedModel, check_use, load
from idle_md.engines.ase import Calculator
from idle_md.engines.predict import predict
from idle_md.files import replacing
from idle_md.label.vibrations import (
    STEP,
    Array,
    displaced,
    force_changes,
    symmetric,
    vibrational_modes,
    wavenumbers,
)
from idle_md.states import state_of

FMAX = 1e-4
"""Largest force of a relaxed molecule, in eV/angstrom."""
RELAXATION_STEPS = 2000
STATIONARY = 0.01  # eV/angstrom: what is above is no stationary point
UNCERTAIN = 20.0  # 1/cm: what is above is worth a remark
AMPLITUDE = 0.3  # angstrom: of the atom that moves most in an animation
FRAMES = 20
Shape = Literal["monatomic", "linear", "nonlinear"]
SHAPES: dict[int, Shape] = {3: "monatomic", 5: "linear", 6: "nonlinear"}
"""By the number of rigid motions."""


@dataclass(frozen=True)
class Thermochemistry:
    """Of an ideal gas of rigid rotors and harmonic oscillators.

    Attributes
    ----------
    temperature_K, pressure_bar
        Of the gas.
    symmetry_number
        Of the rotations.
    unpaired
        Electrons.
    zero_point_ev
        Energy of the vibrations at 0 K in eV.
    internal_energy_ev, enthalpy_ev, gibbs_ev
        In eV, the model's energy and the zero-point energy included.
    entropy_ev_per_K
        In eV/K.
    """

    temperature_K: float  # noqa: N815
    pressure_bar: float
    symmetry_number: int
    unpaired: int
    zero_point_ev: float
    internal_energy_ev: float
    enthalpy_ev: float
    entropy_ev_per_K: float  # noqa: N815
    gibbs_ev: float


@dataclass(frozen=True)
class Frequencies:
    """Harmonic vibrations of a molecule of N atoms, in M internal degrees of freedom.

    Attributes
    ----------
    atoms
        The geometry that they belong to, relaxed unless it was to be left as it is.
    energy
        Of that geometry in eV.
    largest_force
        On an atom there, in eV/angstrom.
    wavenumbers
        (M,) in cm^-1, ascending; an imaginary one is negative.
    uncertainties
        (M,) in cm^-1: what differs when the curvature along each mode is that of displacements of
        half the size. It is large where the model's forces have a kink.
    modes
        Displacements (M, N, 3) of atoms, each mode of norm 1.
    step
        Of the finite differences, in angstrom.
    """

    atoms: ase.Atoms
    energy: float
    largest_force: float
    wavenumbers: Array
    uncertainties: Array
    modes: Array
    step: float

    @property
    def shape(self) -> Shape:
        """Which rotations the molecule has."""
        return SHAPES[3 * len(self.atoms) - len(self.wavenumbers)]

    @property
    def imaginary(self) -> Array:
        """The imaginary ones' absolute values in cm^-1."""
        return np.abs(self.wavenumbers[self.wavenumbers < 0])

    @property
    def is_minimum(self) -> bool:
        """Whether no frequency is imaginary and no force to speak of is left."""
        return not len(self.imaginary) and self.largest_force <= STATIONARY

    def thermochemistry(
        self,
        temperature_K: float = 298.15,
        pressure_bar: float = 1.0,
        symmetry_number: int = 1,
        unpaired: int = 0,
    ) -> Thermochemistry:
        """Return energies and entropy of the ideal gas, by ASE's ``IdealGasThermo``.

        Parameters
        ----------
        temperature_K, pressure_bar
            Of the gas.
        symmetry_number
            Of the rotations: 2 of water, 3 of ammonia, 12 of methane and of benzene.
        unpaired
            Electrons, of which none pairs up: 1 in a radical.

        Raises
        ------
        ValueError
            If the geometry is no minimum, or a number is none that there is.
        """
        if not self.is_minimum:
            raise ValueError(f"thermochemistry is that of a minimum: {'; '.join(self.remarks())}")
        if not (0 < temperature_K < np.inf and 0 < pressure_bar < np.inf):
            raise ValueError(f"a gas at {temperature_K:g} K and {pressure_bar:g} bar: both above 0")
        if symmetry_number < 1 or unpaired < 0:
            raise ValueError(
                f"symmetry number {symmetry_number}, {unpaired} unpaired electrons: the first is "
                "at least 1, the second at least 0"
            )
        gas = IdealGasThermo(
            list(self.wavenumbers * units.invcm),
            self.shape,
            self.energy,
            self.atoms,
            symmetry_number,
            unpaired / 2,
        )
        pascal = pressure_bar * 1e5
        return Thermochemistry(
            temperature_K,
            pressure_bar,
            symmetry_number,
            unpaired,
            float(gas.get_ZPE_correction()),
            float(gas.get_internal_energy(temperature_K, verbose=False)),
            float(gas.get_enthalpy(temperature_K, verbose=False)),
            float(gas.get_entropy(temperature_K, pascal, verbose=False)),
            float(gas.get_gibbs_energy(temperature_K, pascal, verbose=False)),
        )

    def write(self, folder: str | Path) -> Path:
        """Write the geometry and an animation of every mode as extended XYZ; return the folder.

        They are ``geometry.xyz`` and ``mode-001.xyz`` to ``mode-M.xyz``, imaginary ones first. An
        animation begins where the displacement is largest.

        Raises
        ------
        FileExistsError
            If there is such a folder and something is in it.
        """
        folder = checked_folder(folder)
        with replacing(folder / "geometry.xyz") as file:
            ase.io.write(file, self.atoms, format="extxyz")
        for number in range(1, len(self.modes) + 1):
            with replacing(folder / f"mode-{number:03d}.xyz") as file:
                ase.io.write(file, list(self._animation(number - 1)), format="extxyz")
        return folder

    def _animation(self, mode: int) -> Iterator[ase.Atoms]:
        move = self.modes[mode] * AMPLITUDE / np.linalg.norm(self.modes[mode], axis=1).max()
        for phase in 2 * np.pi * np.arange(FRAMES) / FRAMES:
            frame = self.atoms.copy()
            frame.positions += np.cos(phase) * move
            frame.info["wavenumber_per_cm"] = float(self.wavenumbers[mode])
            yield frame

    def remarks(self) -> list[str]:
        """Return what is to be known of the frequencies before they are used."""
        found = []
        if self.largest_force > STATIONARY:
            found.append(
                f"the largest force is {self.largest_force:.2g} eV/angstrom: the geometry is no "
                "stationary point, and its frequencies depend on the coordinates: relax it"
            )
        if len(self.imaginary):
            found.append(
                f"{_listed(self.imaginary)} cm^-1 imaginary: a saddle point, no minimum; from the "
                "first structure of mode-001.xyz a relaxation leads off it"
            )
        most = self.uncertainties.max(initial=0.0)
        if most > UNCERTAIN:
            mode = int(self.uncertainties.argmax())
            found.append(
                f"mode {mode + 1} at {abs(self.wavenumbers[mode]):.0f} cm^-1 is uncertain by some "
                f"{most:.0f} cm^-1: the model's forces are not linear over {self.step:g} angstrom; "
                "compare with another step"
            )
        return found


def frequencies(
    model: DeployedModel | str | Path,
    atoms: ase.Atoms,
    *,
    relax: bool = True,
    fmax: float = FMAX,
    steps: int = RELAXATION_STEPS,
    step: float = STEP,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Frequencies:
    """Return the harmonic frequencies of a molecule.

    It is relaxed, all coordinates are displaced forwards and backwards, and the copies' forces are
    predicted in batches, in double precision. Translations and rotations are projected out.

    Parameters
    ----------
    model
        A deployed model in double precision, or the path or name of one.
    atoms
        Molecule; masses are taken from it, constraints are not. It stays as it is.
    relax
        Whether to relax it first.
    fmax
        Largest force when it is relaxed, in eV/angstrom.
    steps
        Of the relaxation, at most.
    step
        Displacement of a coordinate in angstrom.
    device
        Of a model that is given as a path.
    progress
        Called with the numbers of displaced copies that are done and that there are.

    Warns
    -----
    StateWarning
        If the model was not trained on the molecule's charge or spin, as far as is known.

    Raises
    ------
    FileNotFoundError
        If there is no such model.
    ValueError
        If the structure has no atoms, is periodic, cannot be evaluated or does not relax in so many
        steps; or if the model is an explicit difference or in single precision.

    Examples
    --------
    >>> import ase.build, idle_md
    >>> water = idle_md.frequencies("model.pt", ase.build.molecule("H2O"))
    >>> water.wavenumbers.shape, water.modes.shape  # in cm^-1
    ((3,), (3, 3, 3))
    """
    model = load(model, device, torch.float64)
    _check(model, atoms, step)
    check_use(model.metadata, atoms.numbers, state=state_of(atoms), is_whole=True)
    geometry = ase.Atoms(atoms.numbers, atoms.positions, masses=atoms.get_masses())
    geometry.calc = Calculator(model)
    if relax:
        _relax(geometry, fmax, steps)
    energy, largest = float(geometry.get_potential_energy()), _largest(geometry)
    geometry.calc = None
    copies = _counted(displaced(geometry, step), 6 * len(geometry), progress)
    changes = force_changes((each.forces for each in predict(model, copies)), step)
    found = vibrational_modes(geometry, symmetric(changes))
    modes = found.moves / np.linalg.norm(found.moves, axis=(1, 2), keepdims=True)
    squares = _curvatures(model, geometry, modes, step / 2) / _reduced_masses(geometry, modes)
    others = wavenumbers(squares)
    uncertainties = np.abs(others - found.wavenumbers)
    return Frequencies(geometry, energy, largest, found.wavenumbers, uncertainties, modes, step)


def _curvatures(model: DeployedModel, atoms: ase.Atoms, modes: Array, largest: float) -> Array:
    """Return second derivatives (M,) along modes of norm 1 in eV/angstrom^2.

    The atom that moves most is displaced by ``largest`` angstrom.
    """
    sizes = largest / np.linalg.norm(modes, axis=2).max(axis=1, initial=0.0)
    copies = []
    for move in modes * sizes[:, None, None]:
        for sign in (-1, 1):
            copies.append(atoms.copy())
            copies[-1].positions += sign * move
    forces = np.array([each.forces for each in predict(model, copies)]).reshape(
        -1, 2, len(atoms), 3
    )
    along = np.einsum("mia,msia->ms", modes, forces)
    curvatures: Array = (along[:, 0] - along[:, 1]) / (2 * sizes)
    return curvatures


def _reduced_masses(atoms: ase.Atoms, modes: Array) -> Array:
    """Return those of modes of norm 1 (M,) in amu."""
    masses: Array = np.einsum("mia,i->m", modes**2, atoms.get_masses())
    return masses


def checked_folder(folder: str | Path) -> Path:
    """Return a folder that is not there yet, or empty.

    Raises
    ------
    FileExistsError
        If something is in it, or it is a file.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: remove it, or name another folder")
    return folder


def _check(model: DeployedModel, atoms: ase.Atoms, step: float) -> None:
    model.check_complete()
    if model.dtype != torch.float64:
        raise ValueError(
            "finite differences need double precision: give the model's path, or load it with "
            "`idle_md.load(path, dtype=torch.float64)`"
        )
    if not len(atoms):
        raise ValueError("there are no atoms in the structure")
    if atoms.pbc.any():
        raise ValueError(
            "the structure is periodic, and frequencies are those of molecules: take its cell "
            "away (`atoms.pbc = False`, or a file without one), or calculate phonons with "
            "`idle_md.Calculator` and phonopy"
        )
    if not 0 < step <= 0.1:
        raise ValueError(f"a step of {step:g} angstrom: give one between 0 and 0.1")
    if not (np.isfinite(atoms.get_masses()).all() and (atoms.get_masses() > 0).all()):
        raise ValueError("the structure has an atom without a mass")


def _relax(atoms: ase.Atoms, fmax: float, steps: int) -> None:
    """Relax in place."""
    if not fmax > 0:
        raise ValueError(f"a largest force of {fmax:g} eV/angstrom: give one above 0")
    try:
        is_relaxed = BFGSLineSearch(atoms, logfile=os.devnull).run(fmax=fmax, steps=steps)
    except RuntimeError as error:
        if "LineSearch failed" not in str(error):
            raise
        is_relaxed = False
    if not is_relaxed:
        raise ValueError(
            f"the molecule did not relax in {steps} steps: the largest force is "
            f"{_largest(atoms):.2g} eV/angstrom and should be below {fmax:g}; allow more steps, "
            "or start from a geometry that is nearer to a minimum"
        )


def _largest(atoms: ase.Atoms) -> float:
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _counted(
    copies: Iterator[ase.Atoms], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[ase.Atoms]:
    for done, atoms in enumerate(copies):
        if progress is not None:
            progress(done, total)
        yield atoms


def _listed(wavenumbers: Array) -> str:
    return ", ".join(f"{each:.0f}i" for each in wavenumbers)
