"""How errors are shown in the tables of commands."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

ERRORS = {
    "energy_mae_mev": ("E, meV", ",.1f"),
    "energy_mae_mev_per_atom": ("E, meV/atom", ",.1f"),
    "relative_energy_mae_mev": ("relative E, meV", ",.1f"),
    "force_mae_mev_per_angstrom": ("F, meV/Å", ",.1f"),
    "stress_mae_gpa": ("stress, GPa", ",.4f"),
    "n_energies": ("energies", ",.0f"),
    "n_forces": ("forces", ",.0f"),
    "n_stress": ("stresses", ",.0f"),
}
_WHERE_THERE = ("stress_mae_gpa", "n_stress")


def add_errors(table: "Table", rows: Sequence[tuple[Sequence[str], Mapping[str, object]]]) -> None:
    """Add rows, which begin with words, and a column for every error and number of labels.

    What is not known is a dash; columns of stresses are there where anything has one.
    """
    shown = [k for k in ERRORS if k not in _WHERE_THERE or any(row.get(k) for _, row in rows)]
    for key in shown:
        table.add_column(ERRORS[key][0], justify="right")
    for words, row in rows:
        table.add_row(*words, *(_cell(row.get(key), ERRORS[key][1]) for key in shown))


def _cell(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)
