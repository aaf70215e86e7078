"""`idle-md data`: look into data sets and convert them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idle_md.cli.shared.options import Json
from idle_md.cli.shared.verb import add_verb, next_steps

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.data import Store, Summary

app = typer.Typer(help="Look into data sets and convert them.", no_args_is_help=True)
CONTENT = "What is in the file"
UNITS = "Units"


def info(
    source: Annotated[str, typer.Argument(help="A shipped set (chno-mini), .h5 or .extxyz[.gz].")],
    as_json: Json = False,
) -> None:
    """Print label counts, elements, sizes, ranges and levels of theory of a data set.

    Examples
    --------
    idle-md data info chno-mini
    idle-md data info mine.h5 --json
    """
    from rich.text import Text

    from idle_md.data import load, summarise
    from idle_md.terminal import make_console

    summary = summarise(load(source))
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    console = make_console()
    console.print(Text.assemble((summary.name or source, "bold"), " ", summary.description))
    for table in (_overview(summary), _counts(summary), _levels(summary), _ranges(summary)):
        console.print(table)
    next_steps(console, ("train", "CONFIG.yaml", f"data.store={source}"))


def convert(
    source: Annotated[str, typer.Argument(help="A shipped set, .h5 or .extxyz[.gz].")],
    target: Annotated[Path, typer.Argument(help="File to write: .h5 or .extxyz[.gz].")],
    manifest: Annotated[
        Path | None,
        typer.Option(help="YAML or JSON file: name, description, licence, levels of theory."),
    ] = None,
    fidelity: Annotated[
        list[str] | None,
        typer.Option(help="Level to convert, repeatable; all by default."),
    ] = None,
) -> None:
    """Convert a data set between extended XYZ and the HDF5 store.

    Examples
    --------
    idle-md data convert mine.extxyz mine.h5
    idle-md data convert mine.extxyz mine.h5 --manifest mine.yaml --fidelity dft
    """
    from idle_md.data import convert as convert_data
    from idle_md.terminal import make_console

    store = convert_data(source, target, manifest, fidelity)
    console = make_console()
    console.print(f"{target}: {store.n_geometries} geometries; {_label_counts(store)}")
    next_steps(console, ("data", "info", target))


def join(
    sources: Annotated[list[str], typer.Argument(help="Shipped sets, .h5 or .extxyz[.gz].")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .h5 or .extxyz[.gz].")],
) -> None:
    """Put data sets one after the other into one; copies of a geometry become one.

    Examples
    --------
    idle-md data join a.h5 b.h5 -o both.h5
    """
    from idle_md.data import join as join_stores
    from idle_md.data import load, merge_copies, save
    from idle_md.data.identity.copies import NEAR, near_between
    from idle_md.terminal import make_console

    stores = [load(source) for source in sources]
    joined = join_stores(stores)
    merged = merge_copies(joined)
    save(merged, out)
    n_copies = joined.n_geometries - merged.n_geometries
    console = make_console()
    console.print(
        f"{out}: {merged.n_geometries} geometries of {len(sources)} data sets"
        + (f"; {n_copies} copies were merged" if n_copies else "")
    )
    near = near_between(joined, [store.n_geometries for store in stores])
    if len(near):
        one, other = near[0].tolist()
        console.print(
            f"note: {len(near)} geometries are within {NEAR:g} angstrom of one of another set and "
            f"were kept, such as {one} of {joined.group[one]} beside {other} (counted before "
            "merging): where they are the same, give both files more decimals"
        )
    next_steps(console, ("data", "info", out))


def import_(
    source: Annotated[Path, typer.Argument(help="File of a published set, or folder of one.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .h5 or .extxyz[.gz].")],
    format: Annotated[
        str,
        typer.Option(
            help="extxyz, ani, spice, openqdc, npz, deepmd, ase, ase-io or csv; told by default."
        ),
    ] = "auto",
    fidelity: Annotated[
        str | None, typer.Option(help="Name of the level, where the file has one and no name.")
    ] = None,
    energy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FIDELITY",
            help="Energies; repeatable. Of plain XYZ: comment=.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    forces: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FIDELITY",
            help="Forces; repeatable. For CP2K, a file: FILE=.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    stress: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FIDELITY",
            help="Stresses, positive under tension; repeatable.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    virial: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FIDELITY",
            help="Virials, -stress times volume; repeatable.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    geometries: Annotated[
        Path | None,
        typer.Option(
            help="Store or XYZ file that a CSV table is added to.", rich_help_panel=CONTENT
        ),
    ] = None,
    level_key: Annotated[
        str | None,
        typer.Option(
            help="Key of extended XYZ that names the level of each frame, such as head.",
            rich_help_panel=CONTENT,
        ),
    ] = None,
    energy_unit: Annotated[
        str | None,
        typer.Option(help="eV, hartree, kcal/mol, kJ/mol or meV.", rich_help_panel=UNITS),
    ] = None,
    length_unit: Annotated[
        str | None, typer.Option(help="angstrom, bohr or nm.", rich_help_panel=UNITS)
    ] = None,
    force_unit: Annotated[
        str | None,
        typer.Option(
            help="Such as hartree/bohr; default: energy over length.", rich_help_panel=UNITS
        ),
    ] = None,
    stress_unit: Annotated[
        str | None,
        typer.Option(
            help="GPa, kbar, bar, MPa or such as eV/angstrom^3; default: the others'.",
            rich_help_panel=UNITS,
        ),
    ] = None,
    gradients: Annotated[
        bool,
        typer.Option(
            "--gradients",
            help="The forces are gradients, of the other sign.",
            rich_help_panel=UNITS,
        ),
    ] = False,
    flip_stress: Annotated[
        bool,
        typer.Option(
            "--flip-stress",
            help="Stresses have the sign of pressures, as in VASP.",
            rich_help_panel=UNITS,
        ),
    ] = False,
    trust_units: Annotated[
        bool,
        typer.Option(
            "--trust-units", help="Take units as they are, without checks.", rich_help_panel=UNITS
        ),
    ] = False,
) -> None:
    """Import a published data set; its units are converted, and checked against its numbers.

    Examples
    --------
    idle-md data import ani1x.h5 -o ani1x-store.h5
    idle-md data import mine.npz --energy E=pbe --energy-unit kcal/mol -o mine.h5
    idle-md data import table.csv --geometries mine.h5 --energy b3lyp=b3lyp -o both.h5
    """
    from idle_md.data import import_data, save
    from idle_md.terminal import make_console

    store = import_data(
        source,
        format,
        fidelity=fidelity,
        energy=_mapping(energy, "--energy"),
        forces=_mapping(forces, "--forces"),
        stress=_mapping(stress, "--stress"),
        virial=_mapping(virial, "--virial"),
        geometries=geometries,
        level_key=level_key,
        energy_unit=energy_unit,
        length_unit=length_unit,
        force_unit=force_unit,
        stress_unit=stress_unit,
        gradients=gradients,
        flip_stress=flip_stress,
        trust_units=trust_units,
    )
    save(store, out)
    console = make_console()
    console.print(f"{out}: {store.n_geometries} geometries; {_label_counts(store)}")
    console.print(store.manifest.description)
    next_steps(console, ("data", "info", out))


add_verb(app, info)
add_verb(app, convert)
add_verb(app, join)
add_verb(app, import_, "import")


def _mapping(pairs: list[str] | None, option: str) -> dict[str, str]:
    split = [pair.rpartition("=") for pair in pairs or []]
    for key, _, name in split:
        if not key:
            raise ValueError(f"{option} {name}: write KEY=FIDELITY, such as {option} {name}=pbe")
    return {key: name for key, _, name in split}


def _label_counts(store: "Store") -> str:
    return ", ".join(
        f"{name} {store.has_energy(name).sum()} E + {store.has_forces(name).sum()} F"
        + (f" + {n_stress} S" if (n_stress := store.has_stress(name).sum()) else "")
        for name in store.fidelities
    )


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _overview(summary: "Summary") -> "Table":
    smallest, largest = summary.atoms_per_geometry
    table = _table("Geometries", "", "")
    table.show_header = False
    table.add_row("geometries", f"{summary.n_geometries:,} ({summary.n_periodic:,} periodic)")
    table.add_row("molecules", f"{summary.n_groups:,}")
    table.add_row("elements", " ".join(summary.elements))
    charges = summary.n_geometries_by_charge
    table.add_row(
        "charges", ", ".join(f"{q:+d} ({n:,})" if q else f"0 ({n:,})" for q, n in charges.items())
    )
    unpaired = summary.n_geometries_by_unpaired_electrons
    if set(unpaired) != {0}:
        counts = ", ".join(f"{number} ({n:,})" for number, n in unpaired.items())
        table.add_row("unpaired electrons", counts)
    table.add_row(
        "atoms per geometry", f"{smallest} to {largest}, mean {summary.mean_atoms_per_geometry:.1f}"
    )
    table.add_row("licence", summary.licence or "not stated")
    return table


def _counts(summary: "Summary") -> "Table":
    fidelities = summary.fidelities
    counts: dict[str, dict[str, int]] = {}
    for name, each in fidelities.items():
        counts |= {f"{name} E": each.n_energies, f"{name} F": each.n_forces}
        if any(each.n_stress.values()):
            counts[f"{name} S"] = each.n_stress
    table = _table("Labels", "role", "geometries", *counts)
    for role, n_geometries in summary.n_geometries_by_role.items():
        cells = (f"{by_role[role]:,}" for by_role in counts.values())
        table.add_row(role, f"{n_geometries:,}", *cells)
    return table


def _levels(summary: "Summary") -> "Table":
    table = _table("Levels of theory", "fidelity", "method", "program", "CPU s/label", "CPU s")
    for name, each in summary.fidelities.items():
        level = each.level
        program = " ".join(filter(None, (level.program, level.version)))
        cost, total = level.cpu_seconds_per_label, each.cpu_seconds
        table.add_row(name, level.title, program or "-", _number(cost, "g"), _number(total, ",.0f"))
    return table


def _ranges(summary: "Summary") -> "Table":
    has_stress = any(each.pressure_range_gpa for each in summary.fidelities.values())
    table = _table(
        "Ranges",
        "fidelity",
        "energy, eV",
        "eV/atom",
        "force, eV/angstrom",
        "mean |component|",
        *(["pressure, GPa"] if has_stress else []),
    )
    for name, each in summary.fidelities.items():
        table.add_row(
            name,
            _span(each.energy_range_ev),
            _span(each.energy_range_ev_per_atom),
            _span(each.force_range_ev_per_angstrom),
            _number(each.force_mean_ev_per_angstrom, ".3f"),
            *([_span(each.pressure_range_gpa)] if has_stress else []),
        )
    return table


def _span(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:,.2f} to {values[1]:,.2f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
