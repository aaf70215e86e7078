"""What stands on the pages runs, shortened: Python everywhere, in tutorials commands too."""

import contextlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from idle_md.campaign import run as campaign_run
from idle_md.cli.main import app
from idle_md.train.methods import adapt
from tests.docs.blocks import NAMES, ROOT, Block, blocks_of, commands
from tests.docs.surroundings import SURROUNDINGS

SHORTER = {
    r"wb97x/6-31g\*": "hf/sto-3g",
    r"wb97x_6-31gs": "hf_sto-3g",
    r"(--steps) \d+": r"\1 40",
    r"CC\(=O\)NC\(C\)C\(=O\)NC": "CC(=O)NC",
    r"(--frames) \d+": r"\1 24",
    r"(--test) \d+": r"\1 2",
    r"(--subset) \d+": r"\1 8",
    r"(--labels) \d+": r"\1 8",
    r"(--more) \d+": r"\1 6",
    r"(idle-md (?:adapt|potential) [^\n#]*)": r"\1 --minutes 0.02",
    r"(budget\.minutes)=\d+": r"\1=0.02",
    r"\b(n_)?steps=[\d_]+": r"\1steps=20",
    r"\b(run|step)([ (])[\d_]{4,}": r"\1\g<2>40",
}
"""What makes a block as short as a test should be."""
TUTORIALS = [name for name in NAMES if name.startswith("docs/tutorials/")]
OTHERS = [
    name
    for name in set(NAMES) - set(TUTORIALS)
    if any(block.language == "python" and not block.not_run for block in blocks_of(ROOT / name))
]
LONG = ("docs/tutorials/my_molecule.md",)
CLOCK = {name: [pytest.mark.slow] for name in LONG}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(name, tmp_path, ("python",))


def test_backbone_that_is_shown_has_the_invariants(tmp_path: Path) -> None:
    blocks = blocks_of(ROOT / "docs/extending.md")
    code = [block.text for block in blocks if block.language == "python"]
    (tmp_path / "test_page.py").write_text("\n".join(code))
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), str(tmp_path)]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert " passed" in found.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=CLOCK.get(name, [])) for name in TUTORIALS]
)
def test_tutorial_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for module in (campaign_run, adapt):  # compiling takes longer than all the rest
        monkeypatch.setattr(module, "has_compiler", lambda: False)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run_page(name, tmp_path, ("python", "sh"))


def run_page(name: str, folder: Path, languages: tuple[str, ...]) -> None:
    """Run the blocks of a page as one program."""
    names: dict[str, Any] = {}
    prepared: set[str] = set()
    for block in blocks_of(ROOT / name):
        for place in (name, f"{name}#{block.heading}"):
            if place in SURROUNDINGS and place not in prepared:
                prepared.add(place)
                names |= SURROUNDINGS[place](folder)
        if block.language in languages and not block.not_run:
            run(block, names)


def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block, with the names that those before it defined."""
    text = block.text
    for pattern, shorter in SHORTER.items():
        text = re.sub(pattern, shorter, text)
    try:
        if block.language == "python":
            exec(compile(text, block.page, "exec"), names)
            return
        for words in commands(text):
            run_command(words)
    except Exception as error:
        raise AssertionError(f"{block.page}, line {block.line}: {error}") from error


def run_command(words: list[str]) -> None:
    """Run a command, in this process where it is one of ours."""
    if words[0] == "idle-md":
        result = CliRunner().invoke(app, words[1:])
        if result.exit_code != 0:
            raise AssertionError(f"{' '.join(words)}: {result.exception}") from result.exception
    elif words[0] == "python":
        with contextlib.redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
    else:
        subprocess.run(words, check=True, capture_output=True, timeout=300)
