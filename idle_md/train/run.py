"""A training run: the stages of a method, one after the other, in one folder."""

from pathlib import Path

import torch
import yaml
from rich.console import Console

from idle_md.files import replacing
from idle_md.nn import Potential, load_checkpoint
from idle_md.train.config import TrainConfig
from idle_md.train.finetune import start_finetuning
from idle_md.train.fit import fit
from idle_md.train.method import FinetuneConfig, IdleConfig, SingleConfig, TransferConfig
from idle_md.train.task import build_task


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
        If the configuration does not fit the data or asks for several members, the folder holds
        another run, or the loss diverges.
    OSError
        If the folder cannot be written.
    """
    if config.ensemble > 1:
        raise ValueError(
            f"`train` trains one member of `ensemble: {config.ensemble}`: use `train_ensemble`"
        )
    prepare_folder(config, resume)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    method = config.method
    finetune = method.finetune if isinstance(method, IdleConfig | TransferConfig) else None
    if finetune is None:
        task = build_task(config)
    else:
        source, fidelity = _source(config, console)
        task = build_task(finetune_stage(config, finetune))
        start_finetuning(task, source, fidelity, finetune)
    fit(task, resume, console)
    return config.out


def finetune_stage(config: TrainConfig, finetune: FinetuneConfig) -> TrainConfig:
    """Return the configuration of the second stage: the target alone, on its own budget."""
    rate = {"learning_rate": finetune.learning_rate}
    return config.model_copy(
        update={
            "method": SingleConfig(),
            "optimizer": config.optimizer.model_copy(update=rate),
            "batch": config.batch.model_copy(update={"size": finetune.batch_size}),
            "budget": finetune.budget,
        }
    )


def pretrain_stage(config: TrainConfig) -> TrainConfig:
    """Return the configuration of the first stage, in the subfolder ``pretrain``.

    Raises
    ------
    ValueError
        If the method transfers from a fidelity without labels.
    """
    method, out = config.method, config.out / "pretrain"
    if isinstance(method, IdleConfig):
        joint = method.model_copy(update={"finetune": None})
        return config.model_copy(update={"out": out, "method": joint})
    assert isinstance(method, TransferConfig)
    source = method.source
    if source not in config.labels:
        raise ValueError(
            f"method.source is {source!r}, which has no entry in labels: add "
            f"`{source}: [energy, forces]` (there are {', '.join(config.labels)})"
        )
    budgets = {name: n for name, n in config.data.budgets.items() if name == source}
    return config.model_copy(
        update={
            "out": out,
            "target": source,
            "labels": {source: config.labels[source]},
            "data": config.data.model_copy(update={"budgets": budgets}),
            "method": SingleConfig(),
        }
    )


def _source(config: TrainConfig, console: Console | None) -> tuple[Potential, str]:
    """Return a trained potential to start from, and which of its heads."""
    method = config.method
    if isinstance(method, TransferConfig) and method.checkpoint is not None:
        return load_checkpoint(method.checkpoint)[0], method.source
    stage = pretrain_stage(config)
    if not (stage.out / "metrics.json").is_file():
        train(stage, resume=(stage.out / "config.yaml").is_file(), console=console)
    return load_checkpoint(stage.out / "best.ckpt")[0], stage.target


def prepare_folder(config: TrainConfig, resume: bool) -> None:
    """Write ``config.yaml`` to the run folder; a run that is there must be the one to resume."""
    saved = config.out / "config.yaml"
    settings = config.model_dump(mode="json")
    if saved.is_file():
        if not resume:
            raise ValueError(
                f"{config.out} already holds a run: pass --resume, or set another out=FOLDER"
            )
        before = yaml.safe_load(saved.read_text())
        changed = [key for key in settings if settings[key] != before.get(key)]
        if changed:
            raise ValueError(
                f"cannot resume {config.out}: {', '.join(changed)} changed since it was started "
                f"(see {saved})"
            )
    with replacing(saved) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False))
