"""Where models disagree, an expensive label is worth most."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.nn import Potential, load_checkpoint
from idle_md.run_folder import checkpoints_of
from idle_md.train.prediction import potential_predictor, predict_all

Scores = npt.NDArray[np.float64]


def disagreement(models: Sequence[Path]) -> Callable[[Store], Scores]:
    """Return a function that scores geometries by how much forces differ.

    The score is the largest, over the atoms, of the spread of the force on it, in eV/angstrom: the
    root of the sum over its components of their variance between the models.

    Parameters
    ----------
    models
        Members of a committee, as checkpoints or as run folders, compared at the target of the
        first; or one checkpoint with several fidelities, whose heads are compared: where a level
        and its correction differ most, the correction has most to learn.

    Raises
    ------
    ValueError
        If there is nothing to compare.
    """
    checkpoints = [member for model in models for member in checkpoints_of(model)]
    loaded = [load_checkpoint(checkpoint) for checkpoint in checkpoints]
    if len(loaded) > 1:
        target = str(loaded[0][1]["target"])
        heads = [(potential, target) for potential, _ in loaded]
    else:
        heads = [(potential, name) for potential, _ in loaded for name in potential.fidelities]
    if len(heads) < 2:
        raise ValueError(
            "nothing to compare: give the checkpoints of a committee, or one checkpoint with two "
            "fidelities"
        )
    for potential, fidelity in heads:
        potential.column(fidelity)  # raises where there is no such head
    return lambda store: _force_spread(heads, store)


def _force_spread(heads: Sequence[tuple[Potential, str]], store: Store) -> Scores:
    if store.n_geometries == 0:
        return np.empty(0)
    nothing = Labels.empty(store.n_geometries, len(store.numbers))
    bare = replace(store, labels={"none": nothing})
    forces = []
    for potential, fidelity in heads:
        dtype = potential.dtype
        tensors = GeometryTensors(bare, potential.backbone.cutoff, bare.fidelities, dtype)
        forces.append(predict_all(potential_predictor(potential, fidelity), tensors)[1])
    spread = np.sqrt(np.var(forces, axis=0, ddof=1).sum(axis=1))
    scores: Scores = np.maximum.reduceat(spread, store.offsets[:-1])
    return scores
