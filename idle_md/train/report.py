"""What a training says of itself: labels used, the checkpoint's metadata, final errors."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from idle_md.data import Store
from idle_md.nn import levels, load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.errors import Errors, errors_of_potential, held_out_errors
from idle_md.train.task import Task, states_of


def checkpoint_metadata(task: Task) -> dict[str, Any]:
    """Return what a checkpoint says of its training, as plain values."""
    levels = task.store.manifest.levels
    return {
        "target": task.config.target,
        "delta_on": task.config.method.subtracted,
        "label_counts": task.label_counts,
        "states": states_of(task),
        "levels": {
            f: levels[f].model_dump(mode="json") for f in task.config.fidelities if f in levels
        },
        "config": task.config.model_dump(mode="json"),
        "versions": versions(),
    }


def write_metrics(
    task: Task, folder: RunFolder, seconds: float, more: Mapping[str, Any] | None = None
) -> None:
    """Compare the best checkpoint with the labels of the roles test and ood, and write the errors.

    Parameters
    ----------
    task
        What was trained.
    folder
        Where the checkpoint is, and where to write.
    seconds
        That the training took.
    more
        Plain values to write as well.
    """
    known = levels(*load_checkpoint(folder.best_checkpoint))
    where = processes.device(task.config.device)

    def errors(store: Store, fidelity: str) -> Errors:
        return errors_of_potential(known[fidelity][0].to(where), store, fidelity)[0]

    folder.write_metrics(
        {
            **held_out_errors(task.store, task.splits, task.config.fidelities, errors),
            "label_counts": task.label_counts,
            "train_seconds": seconds,
            "versions": versions(),
            **(more or {}),
        }
    )


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = ("idle-md", "torch", "lightning", "numpy")
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **found}
