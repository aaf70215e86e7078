"""Short trainings of several kinds, and pages as tables of text."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from idle_md.report import write_report
from idle_md.train import parse_config, train, train_ensemble

Settings = Callable[[Path], dict[str, Any]]
SHORT = {"steps": 20, "validate_every": 10}


@pytest.fixture(scope="session")
def idle(make_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint training."""
    settings = make_settings(tmp_path_factory.mktemp("idle") / "run")
    return train(parse_config({**settings, "budget": SHORT}))


@pytest.fixture(scope="session")
def delta(make_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on differences."""
    settings = make_settings(tmp_path_factory.mktemp("delta") / "run")
    method = {"method": {"name": "delta", "low_level": "gfn2"}, "labels": {"wb97x": ["energy"]}}
    return train(parse_config({**settings, **method, "budget": SHORT}))


@pytest.fixture(scope="session")
def committee(make_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two members of a method that trains twice."""
    settings = make_settings(tmp_path_factory.mktemp("committee") / "run")
    finetune = {"budget": {"steps": 20, "validate_every": 10}}
    method = {"method": {"name": "transfer", "source": "gfn2", "finetune": finetune}}
    return train_ensemble(parse_config({**settings, **method, "budget": SHORT}), 2)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[..., Path]:
    """Copy a run, to change it."""

    def copy(run: Path, name: str = "copy") -> Path:
        return Path(shutil.copytree(run, tmp_path / name))

    return copy


class Page:
    """The text of a page, and its tables as rows of cells by what stands in their first one."""

    def __init__(self, run: Path, **options: Any) -> None:
        self.path, self.sentence = write_report(run, **options)
        self.html = self.path.read_text()
        self.svgs = re.findall(r"<svg.*?</svg>", self.html, re.DOTALL)
        self.text = words(re.sub(r"<svg.*?</svg>", "", self.html, flags=re.DOTALL))

    def table(self, heading: str) -> dict[str, list[str]]:
        """Return the rows of the first table after a heading."""
        after = self.html.split(f">{heading}</h", 1)[1].split("</table>")[0]
        rows = [
            [words(cell) for cell in re.findall(r"<t[dh]>(.*?)</t[dh]>", row)]
            for row in re.findall(r"<tr>(.*?)</tr>", after)
        ]
        return {first: cells for first, *cells in rows}


def words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", html).split()))


@pytest.fixture(scope="session")
def page_of() -> type[Page]:
    """Write a page and read it."""
    return Page
