"""One fit: from a potential to start with to the best checkpoint and its errors."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from rich.console import Console

from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential, load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.batches import Indices
from idle_md.train.config import TrainConfig
from idle_md.train.fit.callbacks import Log, Validation, moving_average
from idle_md.train.fit.module import Batches, FitModule
from idle_md.train.fit.optimizer import Optimization
from idle_md.train.remarks import show_labels
from idle_md.train.report import checkpoint_metadata, write_metrics
from idle_md.train.task import Task, is_replayed, labelled_geometries


def fit(
    task: Task,
    potential: Potential,
    folder: RunFolder,
    resume: bool,
    console: Console | None,
    rates: Mapping[str, float] | None = None,
    metadata: dict[str, Any] | None = None,
    finish: Callable[[float], None] | None = None,
) -> Potential:
    """Fit a potential and return the one with the smallest validation error.

    Parameters
    ----------
    task
        What to fit to.
    potential
        What to start with.
    folder
        Where checkpoints, log and metrics are written.
    resume
        Continue from the folder's last checkpoint, where there is one.
    console
        Where to show progress; None for silence.
    rates
        Factors on the learning rate by parameter group, 1 where not named.
    metadata
        Stored beside the weights; by default what the task says.
    finish
        Called with the seconds that it took once the best checkpoint stands; by default errors on
        the held-out geometries are written.

    Raises
    ------
    ValueError
        If there is nothing to validate on, less of it or of a batch than there are processes, the
        labels are not those that a run to resume was begun with, the loss diverges, or a potential
        that is anchored is to be compiled.
    """
    config = task.config
    if config.compile and potential.anchored:
        raise ValueError(
            "compile: true is for fitted reference energies alone, and those of "
            f"{', '.join(potential.anchored)} are isolated or given: set compile: false"
        )
    keep_freed_memory()
    where = processes.device(config.device)
    batches = Batches(task.tensors.to(where), task.stream, validation_indices(task))
    _check_shares(batches)
    if console is not None:
        show_labels(task, console, potential)
    checkpoint = folder.last_checkpoint
    may_resume = resume and processes.by_first(checkpoint.is_file)
    if may_resume:
        processes.by_first(lambda: _check_labels_are_those_of(folder, task))
    optimization = Optimization(config.optimizer, rates or {})
    module = FitModule(potential, task.objective, batches, optimization, config.budget)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        about = checkpoint_metadata(task) if metadata is None else metadata
        trainer = _trainer(config, where, Validation(folder, about), folder, console)
        trainer.fit(module, ckpt_path=checkpoint if may_resume else None, weights_only=True)
    if console is not None:
        console.print(module.ending)
    finish = finish or partial(write_metrics, task, folder)
    processes.by_first(lambda: finish(module.seconds))
    return load_checkpoint(folder.best_checkpoint)[0]


def _check_labels_are_those_of(folder: RunFolder, task: Task) -> None:
    """Check that a run which goes on is trained and validated on as many labels as it began with.

    The data set may have changed, and version 0.1 split stores with different labels differently.
    """
    _, about = load_checkpoint(folder.best_checkpoint)
    if about["label_counts"] != task.label_counts:
        raise ValueError(
            f"cannot resume {folder.path}: it was begun with other labels for training and "
            f"validation ({about['label_counts']}) than there are now ({task.label_counts}), "
            "because the data set or the way of splitting it has changed: start it again in "
            "another folder, or give it the old data set"
        )


def _check_shares(batches: Batches) -> None:
    n_processes = processes.count()
    for n, what, key in (
        (len(batches.stream[0]), "geometries in a batch", "batch.size"),
        (len(batches.validated), "validation geometries", "data.split.validation"),
    ):
        if n < n_processes:
            raise ValueError(
                f"{n_processes} processes need as many {what} or more, and there are {n}: "
                f"raise {key}, or start fewer processes"
            )


def _trainer(
    config: TrainConfig,
    where: torch.device,
    validation: Validation,
    folder: RunFolder,
    console: Console | None,
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    budget = config.budget
    average = moving_average(config.optimizer.ema_decay)
    averaging = WeightAveraging(where, use_buffers=False, multi_avg_fn=average)
    last = ModelCheckpoint(
        folder.path,
        folder.last_checkpoint.stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    callbacks: list[lightning.Callback] = [validation, averaging]
    callbacks += [Log(folder, validation, console)] if processes.rank() == 0 else []
    callbacks.append(last)
    if budget.early_stopping is not None:
        callbacks.append(EarlyStopping("score", patience=budget.early_stopping))
    return lightning.Trainer(
        **processes.trainer_settings(where),
        max_epochs=math.ceil(budget.steps / budget.validate_every) if budget.steps else -1,
        gradient_clip_val=config.optimizer.gradient_clip,
        callbacks=callbacks,
        logger=False,
        inference_mode=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def validation_indices(task: Task) -> Indices:
    """Return the validation geometries: all with a target label, some of the others."""
    indices = task.splits["validation"]
    labelled = labelled_geometries(task.tensors)[indices]
    is_target = labelled[:, -1] & ~is_replayed(task.store)[indices]
    target, others = indices[is_target], indices[~is_target & labelled.any(1)]
    if len(target) == 0:
        raise ValueError(
            f"no validation geometry has a label of the target {task.config.target!r}: raise "
            "data.split.validation or data.budget_validation"
        )
    generator = np.random.default_rng(task.config.seed)
    others = generator.permutation(others)[: task.config.budget.max_validation]
    return np.sort(np.concatenate([target, others]))
