"""`idle-md data`: look into data sets and convert them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from idle_md.data import Store, Summary

app = typer.Typer(help="Look into data sets and convert them.", no_args_is_help=True)


@app.command()
def info(
    source: Annotated[str, typer.Argument(help="A shipped set (chno-mini), .h5 or .extxyz[.gz].")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print label counts, elements, sizes, ranges and levels of theory of a data set."""
    from rich.text import Text

    from idle_md.data import load, summarise
    from idle_md.terminal import make_console

    summary = summarise(load(source))
    if json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    console = make_console()
    console.print(Text.assemble((summary.name or source, "bold"), " ", summary.description))
    for table in (_overview(summary), _counts(summary), _levels(summary), _ranges(summary)):
        console.print(table)


@app.command()
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
    """Convert a data set between extended XYZ and the HDF5 store."""
    from idle_md.data import convert as convert_data

    store = convert_data(source, target, manifest, fidelity)
    typer.echo(f"{target}: {store.n_geometries} geometries; {_label_counts(store)}")


@app.command()
def join(
    sources: Annotated[list[str], typer.Argument(help="Shipped sets, .h5 or .extxyz[.gz].")],
    out: Annotated[Path, typer.Option("-o", "--out", help="File to write: .h5 or .extxyz[.gz].")],
) -> None:
    """Put data sets one after the other into one; copies of a geometry become one."""
    from idle_md.data import join as join_stores
    from idle_md.data import load, merge_copies, save
    from idle_md.data.identity import NEAR, near_between

    stores = [load(source) for source in sources]
    joined = join_stores(stores)
    merged = merge_copies(joined)
    save(merged, out)
    n_copies = joined.n_geometries - merged.n_geometries
    typer.echo(
        f"{out}: {merged.n_geometries} geometries of {len(sources)} data sets"
        + (f"; {n_copies} copies were merged" if n_copies else "")
    )
    near = near_between(joined, [store.n_geometries for store in stores])
    if len(near):
        one, other = near[0].tolist()
        typer.echo(
            f"note: {len(near)} geometries are within {NEAR:g} angstrom of one of another set and "
            f"were kept, such as {one} of {joined.group[one]} beside {other} (counted before "
            "merging): where they are the same, give both files more decimals"
        )


@app.command("import")
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
        typer.Option(metavar="KEY=FIDELITY", help="Energies; repeatable. Of plain XYZ: comment=."),
    ] = None,
    forces: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=FIDELITY", help="Forces; repeatable. For CP2K, a file: FILE=."),
    ] = None,
    geometries: Annotated[
        Path | None, typer.Option(help="Store or XYZ file that a CSV table is added to.")
    ] = None,
    level_key: Annotated[
        str | None,
        typer.Option(help="Key of extended XYZ that names the level of each frame, such as head."),
    ] = None,
    energy_unit: Annotated[
        str | None, typer.Option(help="eV, hartree, kcal/mol, kJ/mol or meV.")
    ] = None,
    length_unit: Annotated[str | None, typer.Option(help="angstrom, bohr or nm.")] = None,
    force_unit: Annotated[
        str | None, typer.Option(help="Such as hartree/bohr; default: energy over length.")
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="The forces are gradients, of the other sign.")
    ] = False,
    trust_units: Annotated[
        bool, typer.Option("--trust-units", help="Take units as they are, without checks.")
    ] = False,
) -> None:
    """Import a published data set; its units are converted, and checked against its numbers."""
    from idle_md.data import import_data, save

    store = import_data(
        source,
        format,
        fidelity=fidelity,
        energy=_mapping(energy, "--energy"),
        forces=_mapping(forces, "--forces"),
        geometries=geometries,
        level_key=level_key,
        energy_unit=energy_unit,
        length_unit=length_unit,
        force_unit=force_unit,
        gradients=gradients,
        trust_units=trust_units,
    )
    save(store, out)
    typer.echo(f"{out}: {store.n_geometries} geometries; {_label_counts(store)}")
    typer.echo(store.manifest.description)


def _mapping(pairs: list[str] | None, option: str) -> dict[str, str]:
    split = [pair.rpartition("=") for pair in pairs or []]
    for key, _, name in split:
        if not key:
            raise ValueError(f"{option} {name}: write KEY=FIDELITY, such as {option} {name}=pbe")
    return {key: name for key, _, name in split}


def _label_counts(store: "Store") -> str:
    return ", ".join(
        f"{name} {store.has_energy(name).sum()} E + {store.has_forces(name).sum()} F"
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
    table = _table(
        "Labels", "role", "geometries", *(f"{name} {kind}" for name in fidelities for kind in "EF")
    )
    for role, n_geometries in summary.n_geometries_by_role.items():
        counts = (
            count[role]
            for each in fidelities.values()
            for count in (each.n_energies, each.n_forces)
        )
        table.add_row(role, f"{n_geometries:,}", *(f"{count:,}" for count in counts))
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
    table = _table(
        "Ranges", "fidelity", "energy, eV", "eV/atom", "force, eV/angstrom", "mean |component|"
    )
    for name, each in summary.fidelities.items():
        table.add_row(
            name,
            _span(each.energy_range_ev),
            _span(each.energy_range_ev_per_atom),
            _span(each.force_range_ev_per_angstrom),
            _number(each.force_mean_ev_per_angstrom, ".3f"),
        )
    return table


def _span(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:,.2f} to {values[1]:,.2f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
