"""One fit: from a task to the best checkpoint and its errors."""

import importlib.metadata
import json
import logging
import math
import platform
import warnings
from collections.abc import Mapping
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from rich.console import Console
from rich.table import Table

from idle_md.data import Store
from idle_md.files import replacing
from idle_md.memory import keep_freed_memory
from idle_md.nn import load_checkpoint
from idle_md.train import processes
from idle_md.train.batches import Indices
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, evaluate_potential, held_out_errors
from idle_md.train.fit.callbacks import Log, Validation, moving_average
from idle_md.train.fit.module import FitModule
from idle_md.train.method import DeltaConfig
from idle_md.train.task import Task, labelled_geometries


def fit(task: Task, resume: bool, console: Console | None) -> dict[str, Any]:
    """Fit a task's potential, write ``best.ckpt`` and ``metrics.json``, and return the metrics.

    Parameters
    ----------
    task
        What to fit; its run folder exists.
    resume
        Continue from the folder's ``last.ckpt``, where there is one.
    console
        Where to show progress; None for silence.

    Raises
    ------
    ValueError
        If there is nothing to validate on, less of it or of a batch than there are processes, or
        the loss diverges.
    """
    config = task.config
    keep_freed_memory()
    validated = validation_indices(task)
    _check_shares(task, len(validated))
    if console is not None:
        console.print(label_table(task.label_counts))
    module = FitModule(task, validated)
    last = config.out / "last.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        validation = Validation(config.out, checkpoint_metadata(task))
        trainer = _trainer(config, validation, console)
        checkpoint = last if resume and processes.by_first(last.is_file) else None
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    return processes.by_first(lambda: write_metrics(task, module.seconds))


def _check_shares(task: Task, n_validated: int) -> None:
    n_trained, n_processes = len(task.stream[0]), processes.count()
    for n, what, key in (
        (n_trained, "geometries in a batch", "batch.size"),
        (n_validated, "validation geometries", "data.split.validation"),
    ):
        if n < n_processes:
            raise ValueError(
                f"{n_processes} processes need as many {what} or more, and there are {n}: "
                f"raise {key}, or start fewer processes"
            )


def _trainer(
    config: TrainConfig, validation: Validation, console: Console | None
) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    budget = config.budget
    averaging = WeightAveraging(
        use_buffers=False, multi_avg_fn=moving_average(config.optimizer.ema_decay)
    )
    last = ModelCheckpoint(
        config.out, "last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[lightning.Callback] = [validation, averaging]
    callbacks += [Log(config.out, validation, console)] if processes.rank() == 0 else []
    callbacks.append(last)
    if budget.early_stopping is not None:
        callbacks.append(EarlyStopping("score", patience=budget.early_stopping))
    return lightning.Trainer(
        accelerator="auto",
        **processes.trainer_settings(),
        max_epochs=math.ceil(budget.steps / budget.validate_every),
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
    target, others = indices[labelled[:, -1]], indices[~labelled[:, -1] & labelled.any(1)]
    if len(target) == 0:
        raise ValueError(
            f"no validation geometry has a label of the target {task.config.target!r}: raise "
            "data.split.validation or data.budget_validation"
        )
    generator = np.random.default_rng(task.config.seed)
    others = generator.permutation(others)[: task.config.budget.max_validation]
    return np.sort(np.concatenate([target, others]))


def label_table(counts: dict[str, dict[str, dict[str, int]]]) -> Table:
    """Return a table of how many labels of each fidelity are trained and validated on."""
    table = Table(title="Labels used")
    for heading in ("fidelity", "split", "energies", "geometries with forces"):
        table.add_column(heading, justify="left" if heading in ("fidelity", "split") else "right")
    for fidelity, by_split in counts.items():
        for name, kinds in by_split.items():
            table.add_row(fidelity, name, f"{kinds['energy']:,}", f"{kinds['forces']:,}")
    return table


def checkpoint_metadata(task: Task) -> dict[str, Any]:
    """Return what a checkpoint says of its training, as plain values."""
    levels, method = task.store.manifest.levels, task.config.method
    return {
        "target": task.config.target,
        "delta_on": method.low_level if isinstance(method, DeltaConfig) else None,
        "label_counts": task.label_counts,
        "levels": {
            f: levels[f].model_dump(mode="json") for f in task.config.fidelities if f in levels
        },
        "config": task.config.model_dump(mode="json"),
        "versions": versions(),
    }


def write_metrics(
    task: Task, seconds: float, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Evaluate ``best.ckpt`` on the roles test and ood and write ``metrics.json``, atomically."""
    out = task.config.out
    potential, _ = load_checkpoint(out / "best.ckpt")

    def errors(store: Store, fidelity: str) -> Errors:
        return evaluate_potential(potential, store, fidelity)[0]

    metrics: dict[str, Any] = {
        **held_out_errors(task.store, task.splits, task.config.fidelities, errors),
        "label_counts": task.label_counts,
        "train_seconds": seconds,
        "versions": versions(),
        **(more or {}),
    }
    with replacing(out / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2))
    return metrics


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = ("idle-md", "torch", "lightning", "numpy")
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **found}
