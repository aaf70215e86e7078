"""Where compiled code is looked for."""

import sys
from pathlib import Path

import torch

from idle_md.native import places


def test_folders_are_those_of_this_torch(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    name = f"torch-{torch.__version__.replace('+', '-')}"
    assert places.folders() == [
        Path(sys.prefix, "lib", "idle_md", name),
        tmp_path / "idle_md" / name,
    ]


def test_what_is_built_is_found_in_the_first_folder_that_has_it(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(places, "folders", lambda: [tmp_path / "a", tmp_path / "b"])
    monkeypatch.delenv(places.VARIABLE, raising=False)
    assert places.find_library() is None
    for folder in ("b", "a"):
        library = tmp_path / folder / places.LIBRARY
        library.parent.mkdir()
        library.touch()
        assert places.find_library() == library
    monkeypatch.setenv(places.VARIABLE, "/elsewhere.so")
    assert str(places.find_library()) == "/elsewhere.so"
