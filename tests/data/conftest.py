"""Random stores: periodic and open geometries, labels missing at random, copies of geometries."""

from collections.abc import Callable

import numpy as np
import pytest

from idle_md.data import Labels, Manifest, Store
from idle_md.fidelity import LevelOfTheory

MOLECULES = ("water", "formic acid", "C=O", "urea", "glycine")


def make_store(seed: int, n_geometries: int = 60) -> Store:
    rng = np.random.default_rng(seed)
    kind = rng.integers(len(MOLECULES), size=n_geometries)
    n_atoms = kind + 2
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    total = int(offsets[-1])
    pbc = rng.random((n_geometries, 3)) < 0.3
    cell = np.where(pbc.any(axis=1)[:, None, None], 4 * np.eye(3) + rng.random((1, 3, 3)), 0.0)
    labels = {}
    for name, share in (("low", 0.9), ("high", 0.3)):
        energy = rng.normal(-1e4, 1e2, n_geometries)
        energy[rng.random(n_geometries) > share] = np.nan
        forces = rng.normal(size=(total, 3)).astype(np.float32)
        forces[np.repeat(rng.random(n_geometries) > share, n_atoms)] = np.nan
        labels[name] = Labels(energy, forces)
    temperature = rng.integers(300, 900, n_geometries).astype(np.float64)
    temperature[rng.random(n_geometries) < 0.3] = np.nan
    return Store(
        numbers=rng.choice([1, 6, 7, 8, 17], size=total).astype(np.int64),
        positions=3 * rng.random((total, 3)),
        offsets=offsets,
        cell=cell,
        pbc=pbc,
        charge=rng.integers(-1, 2, n_geometries),
        group=np.array(MOLECULES)[kind],
        role=rng.choice(["", "train", "validation", "test", "ood"], n_geometries),
        labels=labels,
        info={
            "smiles": rng.choice(["C=O", r"F/C=C\F", "N", "F", ""], n_geometries),
            "frame": np.arange(n_geometries),
            "temperature_K": temperature,
        },
        manifest=Manifest(
            name="random",
            licence="MIT",
            levels={
                "low": LevelOfTheory(method="GFN2-xTB", cpu_seconds_per_label=0.5),
                "high": LevelOfTheory(method="wB97X", basis="6-31G*"),
            },
        ),
    )


@pytest.fixture(params=range(5))
def store(request: pytest.FixtureRequest) -> Store:
    return make_store(request.param)


@pytest.fixture
def random_store() -> Callable[..., Store]:
    return make_store


@pytest.fixture
def assert_equal_stores() -> Callable[[Store, Store], None]:
    return equal_stores


def equal_stores(one: Store, two: Store) -> None:
    """Every array equal to the last bit, missing labels where they were."""
    for name in ("numbers", "positions", "offsets", "cell", "pbc", "charge", "group", "role"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert set(one.fidelities) == set(two.fidelities)
    for name in one.fidelities:
        for kind in ("energy", "forces", "stress"):
            mine, other = getattr(one.labels[name], kind), getattr(two.labels[name], kind)
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other, err_msg=f"{name} {kind}")
    assert one.info.keys() == two.info.keys()
    for key, column in one.info.items():
        np.testing.assert_array_equal(column, two.info[key], err_msg=key)
