"""The run folder: how far a training is, its members, and that another run is not overwritten."""

from pathlib import Path

import pytest

from idle_md.run_folder import RunFolder, checkpoints_of, folder_of


def test_state_follows_the_files(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert not folder.is_begun
    folder.opened_for({"seed": 1}, resume=False)
    assert folder.is_begun
    assert not folder.is_finished
    folder.write_metrics({"test": {}})
    assert folder.is_finished
    assert folder.read_metrics() == {"test": {}}


def test_another_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path).opened_for({"seed": 1, "target": "high"}, resume=False)
    before = folder.config_file.read_bytes()
    with pytest.raises(ValueError, match="already holds a run: pass --resume"):
        folder.opened_for({"seed": 1, "target": "high"}, resume=False)
    with pytest.raises(ValueError, match=r"cannot resume .*: seed changed since it was started"):
        folder.opened_for({"seed": 2, "target": "high"}, resume=True)
    folder.opened_for({"seed": 1, "target": "high"}, resume=True)
    assert folder.config_file.read_bytes() == before


def test_members_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.checkpoints() == [folder.best_checkpoint]
    for name in ("member-10", "member-2", "member-0", "member-x"):
        (tmp_path / name).mkdir()
    numbers = [member.path.name for member in folder.members()]
    assert numbers == ["member-0", "member-2", "member-10"]
    assert checkpoints_of(tmp_path) == [folder.member(k).best_checkpoint for k in (0, 2, 10)]


def test_metrics_are_those_of_just_these_checkpoints(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for k in range(3):
        folder.member(k).path.mkdir()
    members = folder.checkpoints()
    whole, alone = folder_of(members[::-1]), folder_of(members[:1])
    assert whole is not None
    assert alone is not None
    assert (whole.path, alone.path) == (tmp_path, folder.member(0).path)
    assert folder_of(members[:2]) is None
