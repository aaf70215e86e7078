"""How sure an adapted model is of its energies."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.nn import load_checkpoint
from idle_md.train.closed_form.correction import fit_correction

Energies = npt.NDArray[np.float64]
GEOMETRY = ("numbers", "positions", "offsets", "cell", "pbc", "charge")


def predictive_std(checkpoint: Path | str, store: Store) -> Energies:
    """Return the standard deviation of an adapted model's energies (G,) in eV.

    Posterior and noise of the Gaussian process, plus what the model missed of its base level on
    validation geometries, per atom.

    Raises
    ------
    ValueError
        If the checkpoint was not made by `adapt`.
    """
    potential, about = load_checkpoint(checkpoint)
    if "adaptation" not in about:
        raise ValueError(
            f"{checkpoint} was not made by `adapt`, so it has no predictive variance: train a "
            "committee with `ensemble` for a spread"
        )
    made, cutoff = about["adaptation"], potential.backbone.cutoff
    trained = _unpacked(made["geometries"], made["base"])
    correction = fit_correction(
        potential,
        made["base"],
        GeometryTensors(trained, cutoff, trained.fidelities, torch.float64),
        np.arange(trained.n_geometries),
        made["differences"].numpy(),
    )
    tensors = GeometryTensors(store, cutoff, store.fidelities, torch.float64)
    variance = correction.variance(tensors, np.arange(store.n_geometries)).numpy()
    std: Energies = np.sqrt(variance + made["residual_per_atom"] * store.n_atoms)
    return std


def adaptation(
    base: str, labelled: Store, differences: Energies, residual_per_atom: float
) -> dict[str, Any]:
    """Return what :func:`predictive_std` needs to know of an adaptation, for its checkpoint.

    Parameters
    ----------
    base
        Fidelity that was corrected.
    labelled
        Geometries (n) that the correction was fitted to.
    differences
        Their energies less those of the base (n,) in eV.
    residual_per_atom
        Mean square error of the model's base energies per atom, eV^2.
    """
    return {
        "base": base,
        "geometries": {name: torch.from_numpy(getattr(labelled, name)) for name in GEOMETRY},
        "differences": torch.from_numpy(differences),
        "residual_per_atom": residual_per_atom,
    }


def coverage(std: Energies, errors: Energies) -> dict[str, float | int | None]:
    """Return how standard deviations (G,) in eV compare with absolute errors (G,)."""
    if len(errors) == 0:
        return {"n_energies": 0, "mean_std_mev": None, "share_within_one_std": None}
    return {
        "n_energies": len(errors),
        "mean_std_mev": 1e3 * float(std.mean()),
        "share_within_one_std": float((errors < std).mean()),
    }


def _unpacked(arrays: dict[str, torch.Tensor], base: str) -> Store:
    flat: dict[str, Any] = {name: array.numpy() for name, array in arrays.items()}
    n_geometries, n_atoms = len(flat["offsets"]) - 1, len(flat["numbers"])
    nothing = Labels.empty(n_geometries, n_atoms)
    names = np.full(n_geometries, "")
    return Store(**flat, group=names, role=names, labels={base: nothing})
