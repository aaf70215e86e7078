"""The model file: what it says, and what is said when it cannot be used."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from idle_md.deploy import (
    check_use,
    describe,
    export_checkpoint,
    extract,
    load,
    read_metadata,
    save,
)
from idle_md.deploy.metadata import Metadata
from idle_md.fidelity import LevelOfTheory
from idle_md.nn import save_checkpoint

NUMBERS = [8, 1, 1]
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
LEVEL = LevelOfTheory(method="wB97X", basis="6-31G*", program="PySCF", version="2.14.0")


@pytest.fixture
def path(model_file, tmp_path) -> Path:
    """A file that may be damaged."""
    (tmp_path / "own").mkdir()
    return Path(shutil.copy(model_file(), tmp_path / "own"))


def rewritten(path: Path, change) -> Path:
    """Copy an archive, passing every record through ``change(name, content)``."""
    target = path.with_name("changed.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, change(name, source.read(name)))
    return target


def with_metadata(path: Path, **changes) -> Path:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("idle_md.json"):
            return content
        return json.dumps(json.loads(content) | changes).encode()

    return rewritten(path, change)


def test_metadata_say_what_is_in_the_file(make_potential, tmp_path) -> None:
    potential = make_potential(dtype=torch.float32, interactions=3)
    counts = {"high": {"train": {"energy": 90, "forces": 0}}}
    errors = {"test": {"energy_mae_mev": 61.5, "force_mae_mev_per_angstrom": None}}
    metadata = describe(potential, "high", LEVEL, counts, errors)
    save(extract(potential, "high"), tmp_path / "new" / "model.pt", metadata)
    read = load(tmp_path / "new" / "model.pt").metadata
    assert read.model_dump(exclude={"content_sha256"}) == metadata.model_dump(
        exclude={"content_sha256"}
    )
    assert read.fidelity == "high"
    assert read.level_of_theory == LEVEL
    assert read.elements == [1, 6, 7, 8]
    assert (read.cutoff_angstrom, read.interactions, read.dtype) == (4.0, 3, "float32")
    assert read.receptive_field_angstrom == 12.0
    assert read.units == {"energy": "eV", "length": "angstrom"}
    assert read.reference_energies_ev[6] == float(potential.reference_energies[6, 1])
    assert read.backbone["name"] == "painn"
    assert read.label_counts == counts
    assert read.test_errors == errors
    assert read.versions["torch"] == torch.__version__
    assert set(read.versions) == {"idle_md", "torch"}
    assert len(read.content_sha256) == 64


@pytest.mark.parametrize(
    ("name", "settings", "reach"),
    [("hipnn", {"interactions": 3, "tensor_order": 1}, 12.0), ("gmnn", {"n_basis": 6}, 4.0)],
)
def test_metadata_name_the_backbone_and_how_far_it_reaches(
    model_file, name, settings, reach
) -> None:
    read = load(model_file(name=name, **settings)).metadata
    assert read.backbone["name"] == name
    assert settings.items() <= read.backbone.items()
    assert read.interactions == reach / 4.0
    assert read.receptive_field_angstrom == reach


def test_module_carries_the_metadata_too(path) -> None:
    model = load(path)
    inside = Metadata.model_validate_json(model.core.metadata)
    assert inside == model.metadata.model_copy(update={"content_sha256": None})


def test_same_model_gives_the_same_hash(make_potential, tmp_path) -> None:
    potential = make_potential()
    for name in ("a.pt", "b.pt"):
        save(extract(potential, "high"), tmp_path / name, describe(potential, "high"))
    hashes = {load(tmp_path / name).metadata.content_sha256 for name in ("a.pt", "b.pt")}
    assert len(hashes) == 1


def test_file_runs_without_the_package(path) -> None:
    """A TorchScript loader alone, as LAMMPS has it, gives the same numbers."""
    model = load(path)
    species, edge_index, vectors = model.inputs(NUMBERS, WATER)
    code = f"""
import sys, torch
sys.modules["idle_md"] = None
model = torch.jit.load({str(path)!r})
edge_index = torch.tensor({edge_index.tolist()})
vectors = torch.tensor({vectors.tolist()}, dtype=torch.float64)
energies, gradients = model(torch.tensor({NUMBERS}), edge_index, vectors, 3)
print(energies.sum().item().hex(), gradients.sum().item().hex())
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    energies, gradients = model.core(species, edge_index, vectors, 3)
    expected = [energies.sum().item(), gradients.sum().item()]
    assert [float.fromhex(word) for word in result.stdout.split()] == pytest.approx(
        expected, rel=1e-13, abs=1e-13
    )


@pytest.mark.parametrize("stored", [torch.float32, torch.float64])
@pytest.mark.parametrize("wanted", [torch.float32, torch.float64])
def test_precision_can_be_chosen(model_file, stored, wanted) -> None:
    path = model_file(dtype=stored)
    model, cast = load(path), load(path, dtype=wanted)
    assert (model.dtype, cast.dtype) == (stored, wanted)
    assert cast.core.constants.dtype == torch.float64
    energy, forces = model.evaluate(NUMBERS, WATER)
    found, found_forces = cast.evaluate(NUMBERS, WATER)
    assert abs(found - energy) < 3e-5  # of 2 keV of reference energies
    np.testing.assert_allclose(found_forces, forces, atol=1e-5 * np.abs(forces).max())


def test_interrupted_write_leaves_the_old_file(make_potential, path, monkeypatch) -> None:
    before = path.read_bytes()
    potential = make_potential(seed=1)

    def fail(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match=r"cannot write .*model\.pt: No space left on device"):
        save(extract(potential, "high"), path, describe(potential, "high"))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_folder_that_cannot_be_written_is_named(make_potential, path) -> None:
    potential = make_potential()
    with pytest.raises(OSError, match=r"cannot write .*model\.pt/below\.pt"):
        save(extract(potential, "high"), path / "below.pt", describe(potential, "high"))


def test_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model at .*absent\.pt: `idle-md export`"):
        load(tmp_path / "absent.pt")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_file_is_named(path, share) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"model\.pt is truncated or damaged: write it again"):
        load(path)


def test_damaged_weights_are_found(path) -> None:
    content = bytearray(path.read_bytes())
    start = content.index(np.float64(load(path).core.constants[1]).tobytes())
    content[start] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.pt is truncated or damaged"):
        load(path)


@pytest.mark.parametrize("record", [".py", "data/3", "constants.pkl"])
def test_changed_contents_are_found(path, record) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content + b"\n" if name.endswith(record) else content

    with pytest.raises(ValueError, match=r"changed\.pt do not match the hash .* export"):
        load(rewritten(path, change))


def test_other_format_version_names_both(path) -> None:
    message = r"changed\.pt has format version 2, this idle_md reads 1: export .* again"
    with pytest.raises(ValueError, match=message):
        load(with_metadata(path, format_version=2))


def test_unknown_metadata_are_named(path) -> None:
    with pytest.raises(ValueError, match=r"(?s)metadata of .*changed\.pt cannot be used.*colour"):
        load(with_metadata(path, colour="blue"))


def test_checkpoint_is_no_model(make_potential, tmp_path) -> None:
    save_checkpoint(tmp_path / "best.ckpt", make_potential(), {})
    with pytest.raises(ValueError, match=r"best\.ckpt holds no idle_md\.json.*idle-md export"):
        load(tmp_path / "best.ckpt")


def test_foreign_torchscript_is_no_model(tmp_path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as records:
        records.writestr("archive/code/other.py", "")
    (tmp_path / "other.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"other\.pt holds no idle_md\.json"):
        load(tmp_path / "other.pt")


def test_other_files_are_no_models(tmp_path) -> None:
    (tmp_path / "model.pt").write_text("3\nwater\n")
    with pytest.raises(ValueError, match=r"model\.pt is no model file"):
        load(tmp_path / "model.pt")


def test_unknown_elements_are_named_with_their_atoms(path) -> None:
    model = load(path)
    check_use(model.metadata, [1, 6, 8, 7])
    message = r"does not know Cl \(atoms 1, 3\), Br \(atom 2\): it was trained on H, C, N, O"
    with pytest.raises(ValueError, match=message):
        check_use(model.metadata, [6, 17, 35, 17])


def test_checkpoint_is_exported_with_what_is_known_of_it(make_potential, tmp_path) -> None:
    potential = make_potential()
    counts = {"high": {"train": {"energy": 9, "forces": 0}}}
    training = {"target": "high", "levels": {"high": LEVEL.model_dump()}, "label_counts": counts}
    save_checkpoint(tmp_path / "best.ckpt", potential, training)
    errors = {"energy_mae_mev": 1.5, "n_energies": 7}
    metrics = {"test": {"high": errors}, "ood": {"high": errors}, "train_seconds": 1.0}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    metadata = export_checkpoint(tmp_path / "best.ckpt", None, tmp_path / "model.pt")
    assert metadata.fidelity == "high"
    assert metadata.level_of_theory == LEVEL
    assert metadata.label_counts == counts
    assert metadata.test_errors == {"test": errors, "ood": errors}
    low = export_checkpoint(tmp_path / "best.ckpt", "low", tmp_path / "low.pt")
    assert low.level_of_theory is None
    assert load(tmp_path / "low.pt").evaluate(NUMBERS, WATER) != load(
        tmp_path / "model.pt"
    ).evaluate(NUMBERS, WATER)
    with pytest.raises(ValueError, match="unknown fidelity 'hihg': this model has low, high"):
        export_checkpoint(tmp_path / "best.ckpt", "hihg", tmp_path / "no.pt")


def test_a_folder_is_no_model_and_its_models_are_named(model_file, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is a folder: `idle-md export` writes a file"):
        load(tmp_path)
    path = model_file()
    for read in (load, read_metadata):
        with pytest.raises(FileNotFoundError, match=rf"is a folder: name a file in it \({path}\)"):
            read(path.parent)
