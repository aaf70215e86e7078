"""A closed form as a checkpoint keeps it: enough to use it again, and how sure it is."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from idle_md.data import GeometryTensors, Labels, Store
from idle_md.nn import Potential, load_checkpoint
from idle_md.nn.checkpoint import adapted_from
from idle_md.train.closed_form.correction import (
    Correction,
    Posterior,
    Prior,
    fit_correction,
)
from idle_md.train.closed_form.differences import Differences, Values
from idle_md.train.errors import Coverage, covered
from idle_md.train.prediction import potential_predictor, predict_all

GEOMETRY = ("numbers", "positions", "offsets", "cell", "pbc", "charge")
VALUES = ("energies", "forces", "energy_variance", "force_variance")
KEY = "closed_form"  # in the metadata of a checkpoint
COMPONENTS = 6  # random ones of a geometry's forces, where coverage is looked at


@dataclass(frozen=True)
class Adaptation:
    """What a closed form was fitted to, and what came out.

    Attributes
    ----------
    base
        The model whose level was corrected, with that level alone.
    differences
        To it, of the labelled geometries.
    seed
        See :func:`~idle_md.train.closed_form.correction.fit_correction`.
    prior
        What was expected of the correction.
    direction, constants
        Of the correction.
    missed
        Mean squares of what the student misses of the closed form: of energies per atom in eV^2,
        and of force components in (eV/angstrom)^2; zeros as long as there is no student.
    """

    base: Potential
    differences: Differences
    seed: int
    prior: Prior
    direction: Tensor
    constants: Tensor
    missed: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> "Adaptation":
        """Return what the metadata of a checkpoint say.

        Raises
        ------
        KeyError
            If it was not made in closed form.
        """
        kept = dict(metadata[KEY])
        base = adapted_from(metadata, kept.pop("base"))
        differences, prior = _unpacked(kept.pop("differences")), Prior(**kept.pop("prior"))
        return cls(base, differences, prior=prior, **kept)

    def to(self, device: torch.device) -> "Adaptation":
        """Return the same on a device."""
        base = copy.deepcopy(self.base).to(device)
        direction, constants = self.direction.to(device), self.constants.to(device)
        return replace(self, base=base, direction=direction, constants=constants)

    def packed(self) -> dict[str, Any]:
        """Return all but the model as plain values and tensors, for metadata of a checkpoint."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        base, differences = self.base.fidelities[0], _packed(self.differences)
        return {**plain, "base": base, "differences": differences, "prior": vars(self.prior)}

    def correction(self) -> Correction:
        """Return the correction, ready to be used."""
        return Correction(self.base, self.direction, self.constants)

    def posterior(self) -> Posterior:
        """Return how sure it is, which is solved again for it."""
        return fit_correction(self.base, self.differences, self.seed, self.prior)


def adapted(
    base: Potential, differences: Differences, seed: int, drawn: int | None = None
) -> tuple[Adaptation, Posterior]:
    """Fit a correction.

    Parameters
    ----------
    base
        The model, of the known level alone.
    differences, seed
        See :func:`~idle_md.train.closed_form.correction.fit_correction`.
    drawn
        Seed of a correction that is drawn from the posterior; None for the most probable one.
    """
    posterior = fit_correction(base, differences, seed)
    correction = posterior.correction(drawn)
    direction, constants = correction.direction, correction.constants
    made = Adaptation(base, differences, seed, posterior.prior, direction, constants)
    return made, posterior


class Deviations(NamedTuple):
    """Standard deviations of energies (G,) in eV and of forces (A, 3) in eV/angstrom."""

    energies: Values
    forces: Values


def predictive_std(checkpoint: Path | str, store: Store) -> Deviations:
    """Return how sure an adapted model is of its energies and forces.

    Parameters
    ----------
    checkpoint
        Written by a training with the method ``adapt``.
    store
        Geometries, G of them with A atoms in total; labels are not used.

    Raises
    ------
    ValueError
        If the checkpoint was not made by ``adapt``.
    """
    _, about = load_checkpoint(checkpoint)
    if "adaptation" in about:
        raise ValueError(
            f"{checkpoint} was adapted by version 0.1, whose closed form was another one: to know "
            "how sure a model is, adapt it again"
        )
    if KEY not in about:
        raise ValueError(
            f"{checkpoint} was not made by `adapt`, so it has no predictive variance: train a "
            "committee with `ensemble` for a spread"
        )
    adaptation = Adaptation.of(about)
    return deviations(adaptation, adaptation.posterior(), store)


def deviations(
    adaptation: Adaptation, posterior: Posterior, store: Store, components: int | None = None
) -> Deviations:
    """Return how sure a student is: of energies (G,) and of forces (A, 3).

    Variances are those of the closed form, or what the student misses of it where that is more: the
    student evens out what the closed form has wrong, so the two do not add up. With
    ``components``, of so many random force components of each geometry; NaN stands for the others.
    """
    cutoff = adaptation.base.backbone.cutoff
    tensors = GeometryTensors(store, cutoff, [], torch.float64)
    energies, forces = np.empty(store.n_geometries), np.full((len(store.numbers), 3), np.nan)
    generator = np.random.default_rng(0)
    missed_per_atom, missed = adaptation.missed
    for index in range(store.n_geometries):
        n_atoms = int(store.n_atoms[index])
        chosen = generator.permutation(3 * n_atoms)[:components]
        axes = torch.eye(3 * n_atoms, dtype=torch.float64)[chosen].view(-1, n_atoms, 3)
        found = posterior.variances(tensors.batch([index]), axes).cpu().numpy()
        energies[index] = max(found[0], missed_per_atom * n_atoms)
        first = store.offsets[index]
        forces[first + chosen // 3, chosen % 3] = np.maximum(found[1:], missed)
    return Deviations(np.sqrt(energies), np.sqrt(forces))


def coverage(
    adaptation: Adaptation, posterior: Posterior, student: Potential, store: Store
) -> dict[str, Coverage]:
    """Return how standard deviations compare with a student's errors, of energies and of forces.

    Parameters
    ----------
    adaptation, posterior, student
        The closed form, and the model that learned from it.
    store
        Labelled geometries.
    """
    target = student.fidelities[0]
    tensors = GeometryTensors(store, student.backbone.cutoff, [], student.dtype)
    energies, forces, _ = predict_all(potential_predictor(student, target), tensors)
    std, force_std = deviations(adaptation, posterior, store, COMPONENTS)
    true = store.labels_of(target)
    return {
        "energies": covered(energies - true.energy, std),
        "forces": covered(forces - true.forces, force_std),
    }


def _packed(differences: Differences) -> dict[str, Tensor]:
    arrays = {name: getattr(differences.store, name) for name in GEOMETRY}
    arrays |= {name: getattr(differences, name) for name in VALUES}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _unpacked(tensors: Mapping[str, Tensor]) -> Differences:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    n_geometries = len(arrays["offsets"]) - 1
    nothing = Labels.empty(n_geometries, len(arrays["numbers"]))
    names = np.full(n_geometries, "")
    geometry = {name: arrays.pop(name) for name in GEOMETRY}
    store = Store(**geometry, group=names, role=names, labels={"none": nothing})
    return Differences(store, **arrays)
