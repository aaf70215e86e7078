"""`idle-md freq`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idle_md.cli.shared.options import Device, Fidelity, Json, Model
from idle_md.cli.shared.verb import next_steps, print_json
from idle_md.models import at_fidelity

if TYPE_CHECKING:
    from ase import Atoms
    from rich.table import Table

    from idle_md.engines.frequencies import Frequencies, Thermochemistry

GAS = "Thermochemistry"
CALCULATION = "Relaxation and differences"


def freq(
    model: Model,
    structure: Annotated[str, typer.Argument(help="Molecule: .xyz, .pdb, what ASE reads; SMILES.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for the geometry and an animation of each mode."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of the gas in K.")] = 298.15,
    as_json: Json = False,
    pressure: Annotated[float, typer.Option(help="Of the gas in bar.", rich_help_panel=GAS)] = 1.0,
    symmetry_number: Annotated[
        int,
        typer.Option(min=1, help="Of rotations: 2 of water, 12 of methane.", rich_help_panel=GAS),
    ] = 1,
    unpaired: Annotated[
        int, typer.Option(min=0, help="Electrons: 1 in a radical.", rich_help_panel=GAS)
    ] = 0,
    relax: Annotated[
        bool,
        typer.Option(help="Relax the molecule before.", rich_help_panel=CALCULATION),
    ] = True,
    fmax: Annotated[
        float,
        typer.Option(
            help="Largest force after relaxation, eV/angstrom.", rich_help_panel=CALCULATION
        ),
    ] = 1e-4,
    steps: Annotated[
        int,
        typer.Option(min=1, help="Of the relaxation, at most.", rich_help_panel=CALCULATION),
    ] = 2000,
    step: Annotated[
        float,
        typer.Option(help="Displacement of a coordinate, angstrom.", rich_help_panel=CALCULATION),
    ] = 0.01,
    fidelity: Fidelity = None,
    device: Device = "cpu",
) -> None:
    """Relax a molecule and print its harmonic frequencies and thermochemistry.

    Examples
    --------
    idle-md freq idle-s ethanol.xyz
    idle-md freq idle-s O --symmetry-number 2 --temperature 400
    idle-md freq model.pt ethanol.xyz -o ethanol.modes
    idle-md freq model.pt ethanol.xyz --json
    """
    from idle_md.engines.frequencies import checked_folder, frequencies
    from idle_md.progress import LongTask
    from idle_md.terminal import make_console

    console = make_console()
    model = at_fidelity(model, fidelity)
    if out is not None:
        checked_folder(out)
    start = _start(structure)
    with LongTask("displacements", make_console(quiet=console.quiet or as_json)) as shown:
        found = frequencies(
            model,
            start,
            relax=relax,
            fmax=fmax,
            steps=steps,
            step=step,
            device=device,
            progress=shown.update,
        )
    gas = None
    if found.is_minimum:
        gas = found.thermochemistry(temperature, pressure, symmetry_number, unpaired)
    if out is not None:
        found.write(out)
    if as_json:
        print_json(_content(found, gas))
        return
    console.print(_table(found, f"{start.get_chemical_formula()} by {model}, {found.shape}"))
    if gas is not None:
        console.print(_gas(gas))
    for remark in found.remarks():
        console.print(f"note: {remark}", style="yellow")
    if out is not None:
        console.print(f"geometry and modes: {out}")
    next_steps(console, _next(found, model, structure, out))


def _next(
    found: "Frequencies", model: Path, structure: str, out: Path | None
) -> tuple[object, ...]:
    if out is None:
        return "freq", model, structure, "--out", "modes"
    if len(found.imaginary):
        return "freq", model, out / "mode-001.xyz", "--out", f"{out}.off-the-saddle"
    return "md", model, out / "geometry.xyz", "--trajectory", "md.dcd"


def _start(structure: str) -> "Atoms":
    """Read a file, or make a conformer of SMILES."""
    from idle_md.structures import read_structure

    if Path(structure).exists():
        return read_structure(structure)
    from idle_md.label.sampling import from_smiles
    from idle_md.label.sampling.conformers import start_of

    try:
        [molecule] = from_smiles([structure])
    except ValueError as error:
        raise ValueError(f"no structure at {structure}, and it is no SMILES") from error
    start = start_of(molecule, seed=0)
    start.info["charge"] = molecule.charge
    return start


def _table(found: "Frequencies", title: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"{title}: {found.energy:.6f} eV, forces up to {found.largest_force:.1e}")
    for heading in ("mode", "1/cm", "uncertain by"):
        table.add_column(heading, justify="right")
    numbers = zip(found.wavenumbers, found.uncertainties, strict=True)
    for number, (wavenumber, uncertainty) in enumerate(numbers, start=1):
        shown = f"{abs(wavenumber):.1f}{'i' if wavenumber < 0 else ''}"
        table.add_row(str(number), shown, f"{uncertainty:.1f}")
    return table


def _gas(gas: "Thermochemistry") -> "Table":
    from rich.table import Table

    title = f"Ideal gas at {gas.temperature_K:g} K and {gas.pressure_bar:g} bar"
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("zero-point energy", f"{gas.zero_point_ev:.4f} eV"),
        ("internal energy U", f"{gas.internal_energy_ev:.4f} eV"),
        ("enthalpy H", f"{gas.enthalpy_ev:.4f} eV"),
        ("entropy S", f"{1e3 * gas.entropy_ev_per_K:.4f} meV/K"),
        ("Gibbs energy G", f"{gas.gibbs_ev:.4f} eV"),
        ("symmetry number", f"{gas.symmetry_number}"),
        ("unpaired electrons", f"{gas.unpaired}"),
    ):
        table.add_row(name, value)
    return table


def _content(found: "Frequencies", gas: "Thermochemistry | None") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "energy_ev": found.energy,
        "largest_force_ev_per_angstrom": found.largest_force,
        "shape": found.shape,
        "symbols": found.atoms.get_chemical_symbols(),
        "positions_angstrom": found.atoms.positions.tolist(),
        "wavenumbers_per_cm": found.wavenumbers.tolist(),
        "uncertainties_per_cm": found.uncertainties.tolist(),
        "thermochemistry": None if gas is None else asdict(gas),
        "remarks": found.remarks(),
    }
