"""Files are written whole or not at all."""

from contextlib import suppress

import pytest

from idle_md.files import replacing


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("old")
    with suppress(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("interrupted")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_old_file_stays_until_the_new_one_is_whole(tmp_path) -> None:
    path = tmp_path / "new folder" / "model.pt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_folder_is_named_with_the_reason(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write .*file/model\.pt: .*; choose a folder"),
        replacing(tmp_path / "file" / "model.pt") as temporary,
    ):
        temporary.write_text("new")
