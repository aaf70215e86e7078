"""A new fidelity in closed form, and the whole network that learns it."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from idle_md.data import GeometryTensors, Store
from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential, levels, load_checkpoint, save_checkpoint
from idle_md.nn.checkpoint import ADAPTED_FROM, packed
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.closed_form.adaptation import KEY, Adaptation, adapted, coverage
from idle_md.train.closed_form.correction import Posterior
from idle_md.train.closed_form.teacher import (
    known_level,
    labelled_differences,
    shown_labels,
    teacher_labels,
)
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, compare
from idle_md.train.fit.loop import fit, validation_indices
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.remarks import show_labels
from idle_md.train.report import checkpoint_metadata, write_metrics
from idle_md.train.sections import StudentConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.finetune import shift_reference_energies
from idle_md.train.stages.source import check_elements, model_of, with_network_of
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import Task, build_task, elements_of, relabelled

TAUGHT_AT_ONCE = 2048  # geometries
MOST_COVERED = 100  # geometries of a role whose predicted standard deviations are compared


class ClosedForm(Stage):
    """Adds the target to a trained model.

    The difference of the target and a fidelity of the model is fitted in closed form to all labels
    of the target, those of validation geometries included, since nothing is stopped on. The model,
    all of it, then learns that fidelity's labels plus the correction: the student, an ordinary
    model of the target alone.

    Parameters
    ----------
    config
        The target, and the base if its labels are used; backbone and heads are the model's.
    folder
        Where to write.
    model
        Checkpoint of the model.
    refined_from
        Checkpoint that the model was refined from, whose other fidelities are kept; None if it was
        not.
    base
        Which fidelity of the model is corrected. Differences are taken to its label where there is
        one, and to the model's own value otherwise.
    student
        Training of the student, on the target alone; its network is the model's.
    settings
        What else there is to say of the student.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        model: Path,
        refined_from: Path | None,
        base: str,
        student: TrainConfig,
        settings: StudentConfig,
    ) -> None:
        self.config = config
        self.folder = folder
        self.model = model
        self.refined_from = refined_from
        self.base = base
        self.student = student
        self.settings = settings
        self._posterior: Posterior | None = None

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        """Return the student.

        Raises
        ------
        ValueError
            If the model lacks the base or an element, or there are too few labels.
        """
        begun = time.monotonic()
        keep_freed_memory()
        target = self.config.target
        source, about = starting_model(self.model, self.base, target)
        if self.refined_from is not None:
            before = starting_model(self.refined_from, self.base, target)
            about = about | {ADAPTED_FROM: packed(*before)}
        where = processes.device(self.config.device)
        base = base_level(source, about, self.base, target).to(where)
        task = build_task(with_network_of(base, self.config))
        check_elements(task.elements, base, self.base)
        config = student_config(base, self.student, self.settings)
        said = checkpoint_metadata(task) | {ADAPTED_FROM: packed(source, about)}
        if not processes.by_first(self.folder.closed_form_file.is_file):
            processes.by_first(lambda: self._fit(task, base, said, console))
        adaptation = Adaptation.of(load_checkpoint(self.folder.closed_form_file)[1]).to(where)
        student = student_task(task, adaptation, config, self.settings)
        start = student_start(student, adaptation, self.settings)
        metadata = said | {KEY: adaptation.packed()}
        finish = partial(self._finish, task, student, time.monotonic() - begun)
        return fit(student, start, self.folder, resume, console, metadata=metadata, finish=finish)

    def _fit(
        self, task: Task, base: Potential, said: dict[str, Any], console: Console | None
    ) -> None:
        differences = labelled_differences(task, base)
        seed = task.config.data.split.seed
        drawn = task.config.seed if self.settings.drawn else None
        adaptation, self._posterior = adapted(base, differences, seed, drawn)
        if console is not None:
            show_labels(task, console)
            console.print(_summary(self._posterior))
        save_checkpoint(self.folder.closed_form_file, base, said | {KEY: adaptation.packed()})

    def _finish(self, task: Task, student: Task, before: float, seconds: float) -> None:
        """Say in the checkpoint what the student misses, and write the errors.

        It was fitted for so many seconds, and made ready to be in so many ``before``.
        """
        potential, about = load_checkpoint(self.folder.best_checkpoint)
        where = processes.device(self.config.device)
        potential.to(where)
        adaptation = replace(Adaptation.of(about).to(where), missed=_missed(student, potential))
        about[KEY] = adaptation.packed()
        save_checkpoint(self.folder.best_checkpoint, potential, about)
        posterior = self._posterior or adaptation.posterior()
        target = task.config.target
        parts = {role: _held_out(task, role) for role in ("test", "ood")}
        roles = {role: part for role, part in parts.items() if part.n_geometries}
        teacher = {role: _teacher_errors(target, adaptation, part) for role, part in roles.items()}
        covered = {
            role: coverage(adaptation, posterior, potential, _some(part))
            for role, part in roles.items()
        }
        more = {"closed_form": teacher, "uncertainty": covered}
        write_metrics(task, self.folder, before + seconds, more)


def starting_model(checkpoint: Path, base: str, target: str) -> tuple[Potential, dict[str, Any]]:
    """Return a checkpoint's model and metadata, from which a level is made of another one.

    Where the model was adapted to that level before, it is the one that it was adapted from, so
    that the level is made anew.
    """
    source, about = load_checkpoint(checkpoint)
    known = levels(source, about)
    if target in known and base in known and target not in levels(*known[base]):
        return known[base]
    return source, about


def base_level(source: Potential, about: dict[str, Any], base: str, target: str) -> Potential:
    """Return the model of a checkpoint that knows a level, with that level alone.

    Raises
    ------
    ValueError
        If there is none, it does not know that level's energies, or the target is known already.
    """
    known = levels(source, about)
    if target in known:
        raise ValueError(
            f"the model has {target!r} already: start from one without it, or give the new "
            "level another name"
        )
    potential = model_of(known, base)
    if not potential.has_energies(base):
        raise ValueError(
            f"the model was trained on forces of {base!r} alone, so there are no energies to "
            "correct: start from another fidelity"
        )
    return potential.alone(base).unanchored()


def student_config(base: Potential, config: TrainConfig, settings: StudentConfig) -> TrainConfig:
    """Return the training of a student whose network is a model's, or of another width.

    Raises
    ------
    ValueError
        If networks of that kind have no such width.
    """
    config = with_network_of(base, config)
    if settings.features is None:
        return config
    if "features" not in type(config.backbone).model_fields:
        raise ValueError(
            f"method.student.features: {config.backbone.name} has no such size, so leave it out"
        )
    backbone = config.backbone.model_copy(update={"features": settings.features})
    return config.model_copy(update={"backbone": backbone})


def student_task(
    task: Task, adaptation: Adaptation, config: TrainConfig, settings: StudentConfig
) -> Task:
    """Return the training of a student: on the true labels, and on the closed form elsewhere.

    Parameters
    ----------
    task
        What the closed form was fitted to.
    adaptation
        The closed form.
    config
        How the student is trained.
    settings
        On how many geometries.
    """
    generator = np.random.default_rng(config.seed)
    taught = generator.permutation(task.splits["train"])[: settings.geometries]
    most = config.budget.max_validation
    validated = generator.permutation(task.splits["validation"])[:most]
    energies = torch.full((task.store.n_geometries,), torch.nan, dtype=torch.float64)
    forces = torch.full((len(task.store.numbers), 3), torch.nan)
    correction, cutoff = adaptation.correction(), adaptation.base.backbone.cutoff
    chosen = np.union1d(taught, validated)
    for some in np.array_split(chosen, -(-len(chosen) // TAUGHT_AT_ONCE)):
        shown = shown_labels(task, some, adaptation.base.fidelities[0])
        known = known_level(task.store.select(some), adaptation.base, shown)
        made, made_forces = teacher_labels(known, correction, cutoff)
        energies[some] = torch.from_numpy(made)
        forces[task.tensors.atoms(some)] = torch.from_numpy(made_forces).float()
    true, true_forces = task.tensors.energies[:, -1], task.tensors.forces[:, -1]
    energies = torch.where(torch.isnan(true), energies, true)
    forces = torch.where(torch.isnan(true_forces), forces, true_forces)
    return relabelled(task, config, energies, forces)


def student_start(task: Task, adaptation: Adaptation, settings: StudentConfig) -> Potential:
    """Return what a student starts as: the base model with shifted reference energies."""
    if settings.features is not None:
        return untrained_potential(task)
    start = adaptation.base.alone(adaptation.base.fidelities[0], task.config.target).cpu()
    start.reference_energies[:, 0] += adaptation.constants.cpu()
    shift_reference_energies(task, start)
    start.forget_other_elements(task.config.target, elements_of(task))
    return start


def _missed(task: Task, potential: Potential) -> tuple[float, float]:
    """Return mean squares of a student's errors in validation, see :class:`Adaptation`."""
    indices = validation_indices(task)
    part, target = task.store.select(indices), task.config.target
    tensors = GeometryTensors(part, potential.backbone.cutoff, [], potential.dtype)
    energies, forces, _ = predict_all(potential_predictor(potential, target), tensors)
    true = shown_labels(task, indices, target)
    assert true is not None
    per_atom = (energies - true.energy) ** 2 / part.n_atoms
    return float(np.nanmean(per_atom)), float(np.nanmean((forces - true.forces) ** 2))


def _held_out(task: Task, role: str) -> Store:
    target, indices = task.config.target, task.splits.get(role, np.empty(0, np.int64))
    store = task.store.select(indices)
    return store.select(np.flatnonzero(store.has_label(target)))


def _some(store: Store) -> Store:
    order = np.random.default_rng(0).permutation(store.n_geometries)
    return store.select(np.sort(order[:MOST_COVERED]))


def _teacher_errors(target: str, adaptation: Adaptation, part: Store) -> dict[str, Errors]:
    """Return the closed form's own errors: on the model's base level, and on that level live."""
    base, cutoff = adaptation.base.fidelities[0], adaptation.base.backbone.cutoff
    found = {}
    for name in ("model", "live"):
        has_base = name == "live" and base in part.fidelities
        known = known_level(part, adaptation.base, part.labels_of(base) if has_base else None)
        if name == "live" and not known.has_energy.all():
            continue
        energies, forces = teacher_labels(known, adaptation.correction(), cutoff)
        found[name] = compare(part, target, energies, forces)[0]
    return found


def _summary(posterior: Posterior) -> str:
    kinds = ("energies", "slopes"), ("meV", "meV/Å")
    fitted, errors, noise = [], [], []
    found = zip(*kinds, posterior.left_out(), posterior.prior.noise, strict=True)
    for kind, unit, left_out, variance in found:
        if len(left_out):
            fitted.append(f"{len(left_out)} {kind}")
            errors.append(f"{1e3 * float(left_out[:, 0].abs().nanmean()):.1f} {unit}")
            noise.append(f"{1e3 * variance**0.5:.1f} {unit}")
    return (
        f"{' and '.join(fitted)} fitted; errors of geometries left out: {' and '.join(errors)}; "
        f"noise {' and '.join(noise)}"
    )
