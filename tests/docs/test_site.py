"""The site is built without a warning, which dead links and wrong docstrings are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, VERBS

LARGEST = 250_000  # bytes of a picture
OFFLINE = {"NO_MKDOCS_2_WARNING": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | OFFLINE, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_verb_and_setting_has_its_place(site: Path) -> None:
    command = (site / "reference/command/index.html").read_text()
    for words in VERBS:
        assert f'id="{words.replace(" ", "-")}"' in command, words
    assert "--max-stretch" in command
    configuration = (site / "reference/configuration/index.html").read_text()
    for key in ("budget_validation", "learning_rate", "temperature_K", "tensor_order"):
        assert f"<code>{key}</code>" in configuration


def test_reference_has_no_markup_of_docstrings(site: Path) -> None:
    for page in (site / "reference").rglob("*.html"):
        text = page.read_text()
        assert ":func:" not in text, page
        assert ":class:" not in text, page


def test_nothing_is_fetched_and_pictures_are_small(site: Path) -> None:
    page = (site / "index.html").read_text()
    for kind in ('src="http', 'rel="stylesheet" href="http', 'rel="preconnect"'):
        assert kind not in page
    pictures = [*site.rglob("*.svg"), *site.rglob("*.png")]
    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > LARGEST] == []


def test_picture_of_the_start_page_shows_what_was_measured() -> None:
    picture = (ROOT / "docs/pictures/start.svg").read_text()
    rows = json.loads((ROOT / "benchmarks/results/models.json").read_text())["rows"]
    shown = [row for row in rows if "trivial_baseline" in row]
    assert len(shown) == 2
    for row in shown:
        for errors in (row, row["trivial_baseline"]):
            for key in ("relative_energy_mae_mev", "force_mae_mev_per_angstrom"):
                assert f">{errors[key]:.0f}<" in picture, (row["set"], key)
