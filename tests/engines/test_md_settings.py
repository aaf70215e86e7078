"""Settings of molecular dynamics, and the options that are made from them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from idle_md.cli.main import app
from idle_md.engines.md_settings import MDSettings


def test_every_setting_is_an_option_and_is_described() -> None:
    result = CliRunner().invoke(app, ["md", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name, setting in MDSettings.model_fields.items():
        option = "--" + re.sub("_(K|bar|fs|per_ps)$", "", name).replace("_", "-")
        assert re.search(rf"{option} ", result.output), name
        assert setting.description is not None
        assert setting.description.split()[0] in result.output


@pytest.mark.parametrize("heavy", ["torch", "openmm", "ase", "lightning"])
def test_help_does_without_heavy_packages(heavy: str) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from idle_md.cli.main import app; "
        "assert CliRunner().invoke(app, ['md', '--help']).exit_code == 0; "
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "lammps", "platform": None}, "platform is for engine openmm, not lammps"),
        ({"precision": "double"}, "precision is for engine lammps, not openmm: leave one out"),
        ({"steps": 0}, "steps\n *Input should be greater than 0"),
        ({"timestep_fs": -0.5}, "timestep_fs\n *Input should be greater than 0"),
        ({"temprature_K": 300.0}, "temprature_K\n *Extra inputs are not permitted"),
        ({"restart": "a.xml", "minimize": True}, "leave minimize out"),
        ({"ml_chain": "A"}, "needs a force field for the rest: give mm"),
        ({"mm": "a.xml", "ml_atoms": "1-x"}, "'1-x': indices are like 0-21,30"),
    ],
)
def test_settings_that_cannot_be_are_errors(settings, message) -> None:
    with pytest.raises(ValidationError, match=message):
        MDSettings(**settings)


def test_lists_may_be_written_as_text() -> None:
    written = MDSettings(mm="a.xml", ml_residues="LIG, ACE", ml_chain="A", ml_atoms="0-2,7")
    listed = MDSettings(
        mm=["a.xml"], ml_residues=["LIG", "ACE"], ml_chain=["A"], ml_atoms=[0, 1, 2, 7]
    )
    assert written == listed
    assert MDSettings(mm=["a.xml"], ml_atoms=["0-1", "4"]).ml_atoms == [0, 1, 4]


def test_each_engine_serves_the_common_settings_and_its_own() -> None:
    openmm, lammps = (set(MDSettings(engine=name).served()) for name in ("openmm", "lammps"))
    assert openmm | lammps == set(MDSettings.model_fields)
    assert lammps - openmm == {"ranks", "mode", "precision"}
    assert {"steps", "restart", "kernels", "seed"} <= openmm & lammps
    assert MDSettings(trajectory="a.xyz").trajectory == Path("a.xyz")
