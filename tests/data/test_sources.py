"""Data sets by name, conversion, manifests."""

import hashlib
import re

import numpy as np
import pytest

from idle_md.data import convert, load, read_manifest, save, shipped, summarise

MANIFEST = """\
name: mine
licence: CC0
levels:
  low: {method: GFN2-xTB, program: tblite, cpu_seconds_per_label: 0.5}
"""


def test_shipped_set_has_the_published_counts() -> None:
    store = load("chno-mini")
    published = {  # energies and forces
        "gfn2": {"train": (17886, 17886), "test": (180, 180), "ood": (480, 480)},
        "wb97x": {"train": (2202, 2202), "test": (180, 180), "ood": (57, 57)},
        "ccsdt": {"train": (283, 0), "test": (60, 0), "ood": (0, 0)},
        "pm6": {"train": (6096, 6096), "test": (0, 0), "ood": (0, 0)},
    }
    assert store.fidelities == list(published)
    for name, counts in published.items():
        for role, (n_energies, n_forces) in counts.items():
            mine = store.role == role
            assert (store.has_energy(name) & mine).sum() == n_energies
            assert (store.has_forces(name) & mine).sum() == n_forces
    molecules = {name for name in store.group[store.role == "train"] if "+" not in name}
    assert len(molecules) == 127
    assert len(set(store.group[store.role == "ood"])) == 8
    assert (store.has_energy("wb97x") | ~store.has_energy("ccsdt")).all()


def test_held_out_geometries_never_change() -> None:
    """Errors of one release can be compared with those of any other."""
    store = load("chno-mini", ["gfn2", "wb97x", "ccsdt"])
    held_out = store.select((store.role == "test") | (store.role == "ood"))
    digest = hashlib.sha256()
    for index, role in enumerate(held_out.role):
        digest.update(held_out.key(index) + role.encode())
    for labels in held_out.labels.values():
        digest.update(labels.energy.tobytes() + labels.forces.tobytes())
    frozen = "4f6bb8ef774bddf8fbd3f8b3bb0decad167096535d5d5e0df7c4a4a292298d3c"
    assert digest.hexdigest() == frozen


def test_shipped_levels_differ_as_published() -> None:
    """GFN2-xTB against wB97X on test: about 0.044 eV in relative energies, 0.22 eV/angstrom."""
    store = load("chno-mini")
    store = store.select(store.role == "test")
    low, high = store.labels["gfn2"], store.labels["wb97x"]
    difference = high.energy - low.energy
    for name in set(store.group):
        difference[store.group == name] -= difference[store.group == name].mean()
    assert np.abs(difference).mean() == pytest.approx(0.044, abs=0.006)
    assert np.abs(high.forces - low.forces).mean() == pytest.approx(0.224, abs=0.01)


def test_shipped_manifest_names_methods_and_costs() -> None:
    manifest = load("chno-mini").manifest
    assert manifest.licence == "MIT"
    titles = {name: level.title for name, level in manifest.levels.items()}
    assert titles == {
        "gfn2": "GFN2-xTB",
        "wb97x": "wB97X/6-31G*",
        "ccsdt": "CCSD(T)/cc-pVDZ",
        "pm6": "PM6",
    }
    costs = [level.cpu_seconds_per_label for level in manifest.levels.values()]
    assert costs == [0.003, 7, 4.6, 0.1]


def test_unknown_set_lists_the_shipped_ones() -> None:
    assert "chno-mini" in shipped()
    with pytest.raises(FileNotFoundError, match=r"no data set 'chno': .*chno-mini"):
        load("chno")


def test_unknown_kind_of_file_is_refused(store, tmp_path) -> None:
    (tmp_path / "set.csv").write_text("1")
    with pytest.raises(ValueError, match=r"set\.csv: unknown kind of file; use \.h5"):
        load(tmp_path / "set.csv")
    with pytest.raises(ValueError, match=r"set\.json: unknown kind of file"):
        save(store, tmp_path / "set.json")


@pytest.mark.parametrize("name", ["set.h5", "set.extxyz"])
def test_one_level_can_be_loaded(store, name, tmp_path) -> None:
    save(store, tmp_path / name)
    alone = load(tmp_path / name, ["high"])
    assert alone.fidelities == list(alone.manifest.levels) == ["high"]
    np.testing.assert_array_equal(alone.labels["high"].forces, store.labels["high"].forces)
    with pytest.raises(ValueError, match="mid"):
        load(tmp_path / name, ["mid"])


def test_conversion_with_a_manifest(store, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(MANIFEST)
    save(store, tmp_path / "a.extxyz.gz")
    convert(tmp_path / "a.extxyz.gz", tmp_path / "b.h5", tmp_path / "mine.yaml")
    manifest = load(tmp_path / "b.h5").manifest
    assert manifest.licence == "CC0"
    assert manifest.levels["low"].program == "tblite"
    assert manifest.levels["high"].method == "high"


def test_manifest_of_another_set_is_refused(store, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(MANIFEST.replace("low:", "lwo:"))
    save(store, tmp_path / "a.extxyz")
    with pytest.raises(
        ValueError, match=r"mine\.yaml: describes the level 'lwo'.*has (low, high|high, low)"
    ):
        convert(tmp_path / "a.extxyz", tmp_path / "b.h5", tmp_path / "mine.yaml")
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ("licence", "license", "unknown key 'license'; did you mean 'licence'?"),
        ("method", "metod", "unknown key 'levels.low.metod'; did you mean 'method'?"),
        ("name", "xyz", "unknown key 'xyz'; valid keys: name, description"),
        ("0.5", "-1", "levels.low.cpu_seconds_per_label: "),
        ("0.5}", "0.5", "not valid YAML or JSON"),
    ],
)
def test_wrong_manifest_is_named(good, bad, message, tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text(MANIFEST.replace(good, bad))
    with pytest.raises(ValueError, match=r"mine\.yaml: .*" + re.escape(message)):
        read_manifest(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", ["set.h5", "set.extxyz", "set.extxyz.gz"])
def test_unwritable_folder_is_named(store, name, tmp_path) -> None:
    (tmp_path / "taken").write_text("a file where a folder is needed")
    with pytest.raises(OSError, match=rf"cannot write .*taken/{name}: .*; choose a folder"):
        save(store, tmp_path / "taken" / name)


def test_ranges_and_costs(store) -> None:
    summary = summarise(store)
    low, labels = summary.fidelities["low"], store.labels["low"]
    rows = np.repeat(store.has_forces("low"), store.n_atoms)
    lengths = np.sqrt((labels.forces[rows].astype(float) ** 2).sum(axis=1))
    assert low.energy_range_ev == (np.nanmin(labels.energy), np.nanmax(labels.energy))
    assert low.force_range_ev_per_angstrom == (lengths.min(), lengths.max())
    assert sum(low.n_energies.values()) == store.has_energy("low").sum()
    assert low.n_forces["none"] == (store.has_forces("low") & (store.role == "")).sum()
    paid = (store.has_energy("low") | store.has_forces("low")).sum()
    assert low.cpu_seconds == 0.5 * paid
    assert summary.fidelities["high"].cpu_seconds is None
    assert summary.atoms_per_geometry == (2, 6)
    assert summary.n_periodic == store.pbc.any(axis=1).sum()


def test_level_without_labels_has_no_ranges(store) -> None:
    bare = store.select(~store.has_energy("high") & ~store.has_forces("high"))
    high = summarise(bare).fidelities["high"]
    assert high.energy_range_ev is None
    assert high.force_range_ev_per_angstrom is None
    assert sum(high.n_energies.values()) == 0
