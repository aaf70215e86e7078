"""A training run: the stages of a method, one after the other, in one folder."""

from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from idle_md.run_folder import RunFolder
from idle_md.train import processes
from idle_md.train.config import TrainConfig
from idle_md.train.sections import STEPS

ADDED: dict[str, dict[str, Any]] = {
    "warmup_steps": {"algorithm": "adamw"},
    "forces": {"stress": 1.0},
}
"""What settings without a name of their own once were, by one that stood beside them."""


def train(config: TrainConfig, resume: bool = False, console: Console | None = None) -> Path:
    """Run a training and return its folder.

    The folder holds ``config.yaml``, ``log.csv``, ``last.ckpt`` (to resume from), ``best.ckpt`` (to
    export) and, at the end, ``metrics.json``; a method that trains twice keeps the first training
    in the same form in the subfolder ``pretrain``.

    Parameters
    ----------
    config
        What to train on what.
    resume
        Continue a run that was stopped, exactly where its last checkpoint was written.
    console
        Where to show progress; None for silence.

    Raises
    ------
    ValueError
        If the configuration does not fit the data or asks for several members, there is no such
        device, the folder holds another run, or the loss diverges.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> import idle_md
    >>> config = idle_md.train.load_config("idle.yaml", ["out=runs/mine"])
    >>> folder = idle_md.train(config)
    >>> sorted(file.name for file in folder.glob("*.ckpt"))
    ['best.ckpt', 'last.ckpt']
    """
    if config.ensemble > 1:
        raise ValueError(
            f"`train` trains one member of `ensemble: {config.ensemble}`: use `train_ensemble`"
        )
    processes.join()
    processes.device(config.device)
    config = as_begun(config, resume)
    folder = opened_folder(config, resume)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    potential = None
    try:
        for stage in config.method.stages(config, folder):
            potential = stage.run(potential, resume, console)
    except Exception:
        if processes.rank() == 0:
            folder.discard_unless_trained()
        raise
    return folder.path


def train_unless_finished(
    config: TrainConfig, console: Console | None, may_resume: bool = True
) -> RunFolder:
    """Run a training, continue it or do nothing, whatever is left to do; return its folder.

    Raises
    ------
    ValueError
        If it was begun and ``may_resume`` is false, and see :func:`train`.
    """
    folder = RunFolder(config.out)
    if not processes.by_first(lambda: folder.is_finished):
        begun = may_resume and processes.by_first(lambda: folder.is_begun)
        train(config, resume=begun, console=console)
    return folder


def opened_folder(config: TrainConfig, resume: bool) -> RunFolder:
    """Return a configuration's run folder, with the configuration written to it.

    Raises
    ------
    ValueError, OSError
        See :meth:`~idle_md.run_folder.RunFolder.opened_for`.
    """
    folder, settings = RunFolder(config.out), config.model_dump(mode="json")
    processes.by_first(lambda: folder.opened_for(settings, resume, _alike))
    return folder


def as_begun(config: TrainConfig, resume: bool) -> TrainConfig:
    """Return a configuration with the optimiser of the run that goes on, unless it says one.

    Once that was AdamW, and the configuration did not say so.
    """
    folder = RunFolder(config.out)
    asked_for = config.optimizer.algorithm is not None
    if asked_for or not (resume and processes.by_first(lambda: folder.is_begun)):
        return config
    before = yaml.safe_load(folder.config_file.read_text()).get("optimizer", {})
    if "algorithm" in before:
        return config
    adamw = config.optimizer.model_copy(update={"algorithm": "adamw"})
    return config.model_copy(update={"optimizer": adamw})


def _alike(before: Any, now: Any) -> bool:
    """Compare settings of a run with those of an older version, perhaps.

    A setting that is not used may not have been there yet, nor the choice of reference energies and
    the weight of stresses; a budget of minutes alone was once written with the default of steps,
    and the optimiser was once AdamW without saying so.
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return bool(before == now) or (before is None and now == "fit")
    if before.get("steps") == STEPS and now.get("steps", STEPS) is None:
        before = {**before, "steps": None}
    for beside, defaults in ADDED.items():
        if beside in before:
            before = {**defaults, **before}
    return all(_alike(before.get(key), now.get(key)) for key in {**before, **now})
