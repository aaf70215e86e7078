"""A training run: the stages of a method, one after the other, in one folder."""

from pathlib import Path

import torch
import yaml
from rich.console import Console

from idle_md.files import replacing
from idle_md.nn import Potential, load_checkpoint
from idle_md.train import processes
from idle_md.train.adapt import adapt
from idle_md.train.config import TrainConfig
from idle_md.train.finetune import start_finetuning, start_from
from idle_md.train.fit.loop import fit
from idle_md.train.method import (
    AdaptConfig,
    FinetuneConfig,
    IdleConfig,
    SingleConfig,
    TransferConfig,
)
from idle_md.train.task import Task, build_task
from idle_md.train.weight import choose_weight, with_low_level_weight


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
    processes.by_first(lambda: prepare_folder(config, resume))
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    method = config.method
    if isinstance(method, AdaptConfig):
        source, base = _source(config, console)
        task, steps = build_task(with_network_of(source, config)), method.steps
        processes.by_first(lambda: adapt(task, source, base, steps, console))
        return config.out
    if isinstance(method, IdleConfig) and method.low_level_weight == "auto":
        config = with_low_level_weight(config, choose_weight(config, train, console))
    fit(_task(config, console), resume, console)
    return config.out


def _task(config: TrainConfig, console: Console | None) -> Task:
    """Return the task of the last stage, after the stages that it builds on."""
    method = config.method
    finetune = method.finetune if isinstance(method, IdleConfig | TransferConfig) else None
    if finetune is not None:
        source, fidelity = _source(config, console)
        task = build_task(with_network_of(source, finetune_stage(config, finetune)))
        start_finetuning(task, source, fidelity, finetune)
        return task
    if isinstance(method, IdleConfig) and method.start is not None:
        source, _ = load_checkpoint(method.start)
        task = build_task(with_network_of(source, config))
        start_from(task, source)
        return task
    return build_task(config)


def with_network_of(source: Potential, config: TrainConfig) -> TrainConfig:
    """Return a configuration whose backbone and heads are those of a trained model."""
    network = {"backbone": source.backbone.config, "head_hidden": source.hidden}
    return config.model_copy(update=network)


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
    assert isinstance(method, TransferConfig | AdaptConfig)
    source = method.source
    if "energy" not in config.labels.get(source, []):
        raise ValueError(
            f"method.source is {source!r}, which has no energies in labels: set "
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
    if isinstance(method, TransferConfig | AdaptConfig) and method.checkpoint is not None:
        return load_checkpoint(method.checkpoint)[0], method.source
    stage = pretrain_stage(config)
    if not processes.by_first((stage.out / "metrics.json").is_file):
        begun = processes.by_first((stage.out / "config.yaml").is_file)
        train(stage, resume=begun, console=console)
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
