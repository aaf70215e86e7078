"""Fenced blocks of the pages, and what can be said of their commands without running them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib
import typer

from docs.hooks.command import verbs
from idle_md.cli.md import _application

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "data").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*\Z")
INLINE = re.compile(r"(?<!`)`(idle-md [^`]+)`(?!`)")
ASSIGNMENT = re.compile(r"^[A-Z_]+=")
VERBS: dict[str, Any] = dict(verbs()) | {"md": typer.main.get_command(_application())}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
TAKEN_AS_THEY_ARE = {
    ".",
    "cat",
    "cd",
    "conda",
    "dask",
    "git",
    "kill",
    "lmp",
    "mkdocs",
    "sbatch",
    "wait",
}
"""Programs of others, and those of the shell."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what it holds, and why it is not run if it is not."""

    page: str
    line: int
    heading: str
    language: str
    text: str
    not_run: str | None


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    content = page.read_text()
    for found in FENCE.finditer(content):
        before = content[: found.start()]
        remark = NOT_RUN.search(before)
        yield Block(
            page.relative_to(ROOT).as_posix(),
            before.count("\n") + 1,
            (HEADING.findall(FENCE.sub("", before)) or [""])[-1],
            found["language"],
            found["text"],
            remark and remark["reason"],
        )


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of a shell block, without variables that it begins with."""
    for line in text.replace("\\\n", " ").splitlines():
        for command in re.split(r"\s&&?(?:\s|$)", line):
            words = shlex.split(command, comments=True)
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words:
                yield words


def check_command(words: list[str], folder: Path) -> None:
    """Assert that a command exists with the options it is given; ``folder`` is that of its page."""
    program, *arguments = words
    if {"idle-md", "idle_md"} & set(words) and program not in TAKEN_AS_THEY_ARE:
        place = next(i for i, word in enumerate(words) if word in ("idle-md", "idle_md"))
        check_verb(words[place + 1 :])
    elif program in ("python", "python3.11") and arguments[0] != "-m":
        places = [place / arguments[0] for place in (ROOT, folder)]
        scripts = [path for path in places if path.is_file()]
        assert scripts, f"there is no {arguments[0]}"
        for option in (word for word in arguments[1:] if word.startswith("--")):
            assert f'"{option}"' in scripts[0].read_text(), f"{arguments[0]} has no {option}"
    elif program == "make":
        assert set(arguments) <= set(TARGETS), words
    elif program == "pip":
        check_installation(arguments)
    elif "/" in program:
        assert (ROOT / program).exists() or program.startswith(("~", "/")), words
    elif program in ("mpirun", "python", "python3.11"):
        assert "lmp" in arguments or arguments[0] == "-m", words
    else:
        assert program in TAKEN_AS_THEY_ARE, f"what is {program}?"


def check_verb(words: list[str], whole: bool = True) -> None:
    """Assert that ``idle-md`` takes these words; part of a command need not name all it needs."""
    words = [word if "=" in word else word.strip("[]") for word in words]
    name = next((name for n in (2, 1) if (name := " ".join(words[:n])) in VERBS), "")
    assert name, f"there is no idle-md {' '.join(words)}"
    arguments = words[len(name.split()) :]
    if whole:
        VERBS[name].make_context(name, arguments)
        return
    known = {option for each in VERBS[name].params for option in each.opts} | {"--help"}
    assert {word for word in arguments if word.startswith("-")} <= known, words


def check_installation(words: list[str]) -> None:
    """Assert that constraints are there, and extras those of the project."""
    constraints = [words[i + 1] for i, word in enumerate(words) if word == "-c"]
    assert all((ROOT / path).is_file() for path in constraints), words
    for extras in re.findall(r"(?:\.|idle-md)\[([\w,]+)\]", " ".join(words)):
        assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), words
