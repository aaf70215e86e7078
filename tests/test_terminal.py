"""Whatever the width of the terminal, and without one, every number and name is printed in full."""

import io
import re

import numpy as np
import pytest
from rich.table import Table
from typer.testing import CliRunner

from idle_md.cli import bench, check
from idle_md.cli.main import app
from idle_md.data import load
from idle_md.engines.benchmark import Report, Timing
from idle_md.engines.parity.check import Check, Comparison
from idle_md.terminal import label_table, make_console

ON_A_TERMINAL = {"FORCE_COLOR": "1", "TERM": "dumb", "LINES": "50"}
WIDTHS = (60, 80)


def words(text: str) -> set[str]:
    return set(re.sub("[\u2500-\u257f]", " ", text).split())


def printed(table: Table, width: int, terminal: bool) -> str:
    file = io.StringIO()
    console = make_console(file=file, width=width, force_terminal=terminal, color_system=None)
    console.print(table)
    return file.getvalue()


def labels_used() -> Table:
    counts = {"energy": 123_456_789, "forces": 987_654_321}
    name = "wb97x_d4_def2_qzvppd_counterpoise_corrected_at_the_complete_basis"
    return label_table("Labels used", {name: {"train": counts, "validation": counts}})


def engines_compared() -> Table:
    differences = {"energy": 1.234e-5, "forces": 2.345e-6, "stress": 3.4e-7, "energies": 4.5e-8}
    of_structures = {"water [a box]": differences}
    names = ("ASE (portable)", "OpenMM TorchForce, native kernels", "LAMMPS, 128 ranks")
    compared = [Comparison(name, of_structures, {}) for name in names]
    return check._table(Check(1e-4, {"water [a box]": 192}, compared), "a_model_of_mine.pt")


def openmm_timed() -> Table:
    way = {"platform": "Reference", "backend": "pythontorchforce"}
    way |= {"kernels": "portable", "neighbors": "native"}
    timing = Timing(way, 12345.678, 11111.222, 1234.456, None, 98765.43)
    return bench._table(Report(99, [timing], empty_ms={"Reference": 0.012}), "model.pt on cpu")


def lammps_timed() -> Table:
    way = {"mode": "ghost", "ranks": 1024, "kernels": "portable"}
    timing = Timing(way, 12345.678, 11111.222, 1234.456, 123456.78, 98765.43)
    return bench._lammps_table(Report(99, [timing]), "model.pt, 0.5 fs")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "make", [labels_used, engines_compared, openmm_timed, lammps_timed], ids=lambda f: f.__name__
)
def test_table_is_printed_in_full(make, width, terminal) -> None:
    found = printed(make(), width, terminal)
    assert words(found) == words(printed(make(), 1000, True))
    assert "…" not in found


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    """The geometries of chno-mini that are held out, in a place with a long name."""
    store = load("chno-mini")
    path = tmp_path_factory.mktemp("x" * 60) / "a_data_set.h5"
    store.select(np.flatnonzero(store.role == "test")[:20]).write(path)
    return path


@pytest.mark.parametrize("environment", [{}, ON_A_TERMINAL])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["data info chno-mini", "evaluate", "info"])
def test_command_prints_in_full(command, width, environment, model_file, test_set) -> None:
    model = str(model_file(fidelities=("low", "high")))
    arguments = command.split()
    if command == "evaluate":
        arguments += [model, str(renamed(test_set))]
    if command == "info":
        arguments += [model]
    texts = []
    for columns in (width, 1000):
        own = {**environment, "COLUMNS": str(columns), "NO_COLOR": "1"}
        result = CliRunner().invoke(app, arguments, env=own)
        assert result.exit_code == 0, result.output
        texts.append(result.output)
    assert "…" not in texts[0]
    assert words(texts[0]) == words(texts[1])


def renamed(path):
    """The set with the level of the model."""
    store = load(path)
    store.labels["high"] = store.labels["wb97x"]
    other = path.with_name("renamed.h5")
    if not other.exists():
        store.manifest = store.manifest.covering(store.labels)
        store.write(other)
    return other


def test_lines_are_broken_on_a_terminal_alone() -> None:
    path = "runs/" + "a_long_name/" * 20
    for terminal in (True, False):
        console = make_console(file=io.StringIO(), width=60, force_terminal=terminal)
        console.print(f"Errors on test data are in {path}; next:")
        assert (path in console.file.getvalue()) is not terminal


def test_columns_that_may_be_folded_fit_the_terminal() -> None:
    table = Table("what", "where")
    table.columns[1].overflow = "fold"
    table.add_row("native operators", "/" + "a_folder/" * 30)
    assert max(map(len, printed(table, 60, True).splitlines())) == 60
    table = Table("what", "where")
    table.add_row("native operators", "/" + "a_folder/" * 30)
    assert "a_folder/" * 30 in printed(table, 60, False)
