from pathlib import Path

import numpy as np
import pytest

from idle_md.data import GeometryTensors, load
from idle_md.nn import load_checkpoint, save_checkpoint
from idle_md.train import disagreement
from idle_md.train.prediction import potential_predictor, predict_all


@pytest.fixture(scope="module")
def checkpoints(make_potential, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    paths = [folder / f"member-{k}" / "best.ckpt" for k in range(3)]
    for seed, path in enumerate(paths):
        save_checkpoint(path, make_potential(seed=seed), {"target": "high"})
    return paths


@pytest.fixture(scope="module")
def store(small_store):
    return load(small_store).select(np.arange(12))


def _forces(checkpoint: Path, fidelity: str, store) -> np.ndarray:
    potential, _ = load_checkpoint(checkpoint)
    tensors = GeometryTensors(store, 4.0, store.fidelities, potential.dtype)
    return predict_all(potential_predictor(potential, fidelity), tensors)[1]


def test_committee(checkpoints, store) -> None:
    scores = disagreement(checkpoints)(store)
    forces = np.array([_forces(path, "high", store) for path in checkpoints])
    for index, (first, last) in enumerate(zip(store.offsets[:-1], store.offsets[1:], strict=True)):
        by_atom = forces[:, first:last].std(axis=0, ddof=1)
        assert scores[index] == pytest.approx(np.linalg.norm(by_atom, axis=1).max())
    folder = checkpoints[0].parent.parent
    np.testing.assert_allclose(disagreement([folder])(store), scores)


def test_two_heads_of_one_checkpoint(checkpoints, store) -> None:
    scores = disagreement(checkpoints[:1])(store)
    low, high = (_forces(checkpoints[0], name, store) for name in ("low", "high"))
    by_atom = np.linalg.norm(high - low, axis=1) / np.sqrt(2)
    assert scores[0] == pytest.approx(by_atom[: store.offsets[1]].max())


def test_nothing_to_compare(make_potential, tmp_path) -> None:
    save_checkpoint(tmp_path / "best.ckpt", make_potential(("high",)), {"target": "high"})
    with pytest.raises(ValueError, match="nothing to compare"):
        disagreement([tmp_path / "best.ckpt"])
    with pytest.raises(ValueError, match="nothing to compare"):
        disagreement([])


def test_no_geometries(checkpoints, store) -> None:
    assert len(disagreement(checkpoints)(store.select([]))) == 0
