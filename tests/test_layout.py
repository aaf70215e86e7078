"""What import-linter does not look at."""

import re
from pathlib import Path

import grimp

import idle_md

PACKAGE = Path(idle_md.__file__).parent
SOURCES = {path: path.read_text() for path in PACKAGE.rglob("*.py")}


def test_no_file_imports_the_face_of_its_own_folder() -> None:
    graph = grimp.build_graph("idle_md", cache_dir=None)
    for name in graph.modules:
        faces = graph.find_modules_directly_imported_by(name)
        assert not [face for face in faces if name.startswith(f"{face}.")], name


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in SOURCES}
    files = {each: [path for path in each.iterdir() if path.is_file()] for each in folders}
    assert {str(each): len(own) for each, own in files.items() if len(own) > 20} == {}


def test_files_of_a_run_folder_are_spelt_in_one_place() -> None:
    spelt = re.compile(r'"(config\.yaml|log\.csv|(last|best)\.ckpt|metrics\.json|pretrain)"')
    places = {path.name for path, text in SOURCES.items() if spelt.search(text)}
    assert places == {"run_folder.py"}


def test_consoles_are_those_that_cut_nothing() -> None:
    made = re.compile(r"\bConsole\(")  # in place of `idle_md.terminal.make_console`
    assert {path.name for path, text in SOURCES.items() if made.search(text)} == set()


def test_what_a_method_is_is_not_asked_for() -> None:
    asked = re.compile(r"isinstance\(.*method", re.IGNORECASE)
    places = {path for path, text in SOURCES.items() if asked.search(text)}
    assert {path for path in places if path.parent.name != "methods"} == set()


def test_forces_are_summed_over_edges_in_one_place() -> None:
    summed = re.compile(r"index_add_?\(.*alpha=-1")
    assert {path.name for path, text in SOURCES.items() if summed.search(text)} == {
        "edge_contract.py"
    }
