"""How errors are shown in the tables of commands."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

ERRORS = {
    "energy_mae_mev": "E, meV",
    "energy_mae_mev_per_atom": "E, meV/atom",
    "relative_energy_mae_mev": "relative E, meV",
    "force_mae_mev_per_angstrom": "F, meV/Å",
}
COUNTS = {"n_energies": "energies", "n_forces": "forces"}


def add_error_columns(table: "Table") -> None:
    """Add a column for every error and for the numbers of labels that were compared."""
    for heading in (*ERRORS.values(), *COUNTS.values()):
        table.add_column(heading, justify="right")


def error_cells(errors: Mapping[str, object]) -> list[str]:
    """Return the cells of those columns; what is not known is a dash."""
    cells = [_cell(errors.get(key), ",.1f") for key in ERRORS]
    return cells + [_cell(errors.get(key), ",.0f") for key in COUNTS]


def _cell(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)
