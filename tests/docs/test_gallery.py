"""The gallery's examples give the numbers that are shown, in the time that is promised."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from docs.hooks.gallery import RESULTS, SCRIPTS

LONGEST = 180.0  # seconds of processor time
RELATIVE = 0.02
UNSURE = {"committee": 0.5, "conservation": 0.3}
"""What rounding changes more: by training, and by dynamics of another start."""
NOTHING = {"drift at 0.5 fs, meV/atom/ps": 0.02}
"""What is nothing but noise, up to so much."""


def test_every_example_has_its_figure_and_its_numbers() -> None:
    for kind in ("svg", "json"):
        assert {path.stem for path in RESULTS.glob(f"*.{kind}")} == {path.stem for path in SCRIPTS}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_numbers_are_those_that_are_shown(script: Path, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, env=threads)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < LONGEST
    assert (tmp_path / f"{script.stem}.svg").stat().st_size > 1000
    shown, found = (
        json.loads((folder / f"{script.stem}.json").read_text()) for folder in (RESULTS, tmp_path)
    )
    assert found.keys() == shown.keys()
    for name, value in shown.items():
        within = {"rel": UNSURE.get(script.stem, RELATIVE), "abs": NOTHING.get(name, 0.0)}
        assert found[name] == pytest.approx(value, **within), name
