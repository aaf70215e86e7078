"""Where a stage gets a trained potential from, and what it takes over from it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from idle_md.elements import symbols
from idle_md.nn import Potential, load_checkpoint
from idle_md.train.config import TrainConfig
from idle_md.train.run import train_unless_finished
from idle_md.train.stage import Stage


class Pretraining(Stage):
    """A training in a folder of its own, unless it is finished there.

    Parameters
    ----------
    config
        Of that training.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        folder = train_unless_finished(self.config, console)
        return load_checkpoint(folder.best_checkpoint)[0]


class Trained(Stage):
    """A model that was trained elsewhere.

    Parameters
    ----------
    checkpoint
        Its file.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        return load_checkpoint(self.checkpoint)[0]


def with_network_of(source: Potential, config: TrainConfig) -> TrainConfig:
    """Return a configuration whose backbone and heads are those of a trained model."""
    network = {"backbone": source.backbone.config, "head_hidden": source.hidden}
    return config.model_copy(update=network)


def check_elements(needed: Sequence[int], source: Potential) -> None:
    """Check that a trained model knows all elements that are needed.

    Raises
    ------
    ValueError
        If it does not; names them.
    """
    unknown = sorted(set(needed) - set(source.backbone.elements))
    if unknown:
        raise ValueError(
            f"the model to start from does not know the elements {', '.join(symbols(unknown))}: it "
            f"knows {', '.join(symbols(source.backbone.elements))}"
        )


def check_fidelities(needed: Sequence[str], source: Potential) -> None:
    """Check that a trained model has heads of just these fidelities, in their order.

    Raises
    ------
    ValueError
        If it does not.
    """
    if set(source.fidelities) != set(needed):
        raise ValueError(
            f"the model to start from has heads of {', '.join(source.fidelities)}, but labels are "
            f"given of {', '.join(needed)}: they must be the same"
        )
    if source.fidelities != list(needed):
        raise ValueError(
            f"the model to start from has the target {source.fidelities[-1]!r}, and the "
            f"fidelities in the order {', '.join(source.fidelities)}: give labels in that order"
        )
