"""Trainings that several methods are made of."""

from idle_md.run_folder import RunFolder
from idle_md.train.config import TrainConfig
from idle_md.train.methods.single import Single
from idle_md.train.sections import FinetuneConfig, StudentConfig


def on_source(config: TrainConfig, source: str) -> TrainConfig:
    """Return a training in a subfolder on one fidelity, which another training goes on from.

    Raises
    ------
    ValueError
        If that fidelity has no energies among the labels.
    """
    if "energy" not in config.labels.get(source, []):
        raise ValueError(
            f"method.source is {source!r}, which has no energies in labels: set "
            f"`{source}: [energy, forces]` (there are {', '.join(config.labels)})"
        )
    budgets = {name: n for name, n in config.data.budgets.items() if name == source}
    return config.model_copy(
        update={
            "out": RunFolder(config.out).pretraining.path,
            "target": source,
            "labels": {source: config.labels[source]},
            "data": config.data.model_copy(update={"budgets": budgets}),
            "method": Single(),
        }
    )


def on_target(config: TrainConfig, finetune: FinetuneConfig | StudentConfig) -> TrainConfig:
    """Return a training on the target alone, with its own rate, batches and budget."""
    rate = {"learning_rate": finetune.learning_rate}
    return config.model_copy(
        update={
            "method": Single(),
            "optimizer": config.optimizer.model_copy(update=rate),
            "batch": config.batch.model_copy(update={"size": finetune.batch_size}),
            "budget": finetune.budget,
        }
    )
