from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from idle_md.configuration import (
    Count,
    Positive,
    Section,
    load_section,
    nearest,
    parse_section,
    parse_yaml,
)


class Morse(Section):
    name: Literal["morse"] = "morse"
    depth: Positive = 1.0


class Harmonic(Section):
    name: Literal["harmonic"] = "harmonic"
    stiffness: Positive = 1.0


class Bond(Section):
    length: Positive
    kind: Annotated[Morse | Harmonic, Field(discriminator="name")] = Harmonic()


class Molecule(Section):
    title: str
    bonds: dict[str, Bond] = Field(default={})
    copies: Count = 1


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("titel", "did you mean 'title'?"),
        ("Copies", "did you mean 'copies'?"),
        ("copeis", "did you mean 'copies'?"),
        ("xyz", ""),
    ],
)
def test_nearest_valid_name(name: str, hint: str) -> None:
    assert nearest(name, ["title", "bonds", "copies"]) == hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"titel": "a"}, "here: title: Field required; unknown key 'titel'; did you mean 'title'?"),
        ({"title": "a", "xyz": 1}, "unknown key 'xyz'; valid keys: title, bonds, copies"),
        ({"title": "a", "copies": 0}, "copies: .*greater than 0"),
        (
            {"title": "a", "bonds": {"CH": {"length": 1.1, "knd": {}}}},
            r"unknown key 'bonds\.CH\.knd'; did you mean 'kind'",
        ),
        (
            {"title": "a", "bonds": {"CH": {"length": 1.1, "kind": {"name": "morse", "deep": 1}}}},
            r"unknown key 'bonds\.CH\.kind\.deep'; did you mean 'depth'",
        ),
    ],
)
def test_every_wrong_key_is_named(content: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_section(content, Molecule, "here")


def test_file_of_a_section(tmp_path: Path) -> None:
    path = tmp_path / "molecule.yaml"
    with pytest.raises(FileNotFoundError, match=r"no molecule at .*molecule\.yaml"):
        load_section(path, Molecule, "molecule")
    path.write_text("title: H₂\nbonds: {HH: {length: 0.74, kind: {name: morse, depth: 4.7}}}\n")
    molecule = load_section(path, Molecule)
    assert (molecule.title, molecule.copies) == ("H₂", 1)
    assert molecule.bonds["HH"].kind == Morse(depth=4.7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title: [", "not valid YAML"),
        ("title: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("- title", "must be a mapping of keys such as title"),
        ("title: a\ncopeis: 2", r"unknown key 'copeis'; did you mean 'copies'"),
        ("title: a\ncopies: 2\ntitle: b", "the key 'title' comes twice in the mapping of line 1"),
        ("title: a\nbonds: {HH: {}, HH: {}}", "the key 'HH' comes twice in the mapping of line 2"),
        ("title: a\ncopies: 1:30", "copies: Input should be a valid integer"),
        ("title: !!int x", "not valid YAML"),
        ("title: !!timestamp x", "not valid YAML"),
        ("title: " + 3000 * "[", "not valid YAML"),
    ],
)
def test_wrong_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "molecule.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"molecule\.yaml.*{message}"):
        load_section(path, Molecule)


def test_plain_numbers_are_those_of_yaml_1_2() -> None:
    """They were eight, ninety and a text; texts like dates were dates."""
    assert parse_yaml("[010, 1:30, 1e-3, 2024-13-45]") == [10, "1:30", 1e-3, "2024-13-45"]
    values = parse_yaml("[+5, -3, 1., .5e1, -.inf, 0x10, 1_0, true, null, '7']")
    assert values == [5, -3, 1.0, 5.0, float("-inf"), "0x10", "1_0", True, None, "7"]
    assert [type(each) for each in values[:4]] == [int, int, float, float]


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "molecule.yaml"
    path.write_bytes(b"\xff\xfe\x00title")
    with pytest.raises(ValueError, match=r"molecule\.yaml: not valid YAML"):
        load_section(path, Molecule)
