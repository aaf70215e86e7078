"""Where a stage gets a trained potential from, and what it takes over from it."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from idle_md.elements import symbols
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.nn.checkpoint import Levels
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


class TrainedLevel(Stage):
    """The model that knows a level: a trained one, or one that it was adapted from.

    Parameters
    ----------
    checkpoint
        Of the trained one.
    fidelity
        The level.
    """

    def __init__(self, checkpoint: Path, fidelity: str) -> None:
        self.checkpoint = checkpoint
        self.fidelity = fidelity

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        return model_of(levels(*load_checkpoint(self.checkpoint)), self.fidelity)


class Trained(Stage):
    """A model that was trained elsewhere.

    Parameters
    ----------
    checkpoint
        Its file.
    fidelities
        Heads that it must have, in this order. A model that ``adapt`` made has its target's alone:
        that of a level that it was adapted from starts as a copy of it, with that level's reference
        energies.
    """

    def __init__(self, checkpoint: Path, fidelities: Sequence[str]) -> None:
        self.checkpoint = checkpoint
        self.fidelities = fidelities

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        found, about = load_checkpoint(self.checkpoint)
        known = levels(found, about)
        check_fidelities(self.fidelities, list(known))
        return found if list(known) == found.fidelities else _with_heads(found, known)


def _with_heads(potential: Potential, known: Levels) -> Potential:
    """Return a potential with a head for each level that its checkpoint knows."""
    anchored = [fidelity for fidelity, (model, _) in known.items() if fidelity in model.anchored]
    whole = Potential(potential.backbone, list(known), potential.hidden, anchored=anchored)
    whole.to_precision(potential.dtype)
    target = potential.fidelities[-1]
    for column, (fidelity, (model, _)) in enumerate(known.items()):
        own = potential.alone(fidelity if fidelity in potential.fidelities else target, fidelity)
        whole.heads.load_state_dict(own.heads.state_dict(), strict=False)
        reference = model.reference_energies[:, model.column(fidelity)]
        whole.reference_energies[: len(reference), column] = reference
    return whole


def model_of(known: Levels, fidelity: str) -> Potential:
    """Return the model that knows a level.

    Raises
    ------
    ValueError
        If none does; names those that there are.
    """
    if fidelity not in known:
        raise ValueError(f"unknown fidelity {fidelity!r}: this model has {', '.join(known)}")
    return known[fidelity][0]


def with_network_of(source: Potential, config: TrainConfig) -> TrainConfig:
    """Return a configuration whose backbone and heads are those of a trained model."""
    network = {"backbone": source.backbone.config, "head_hidden": source.hidden}
    return config.model_copy(update=network)


def check_elements(needed: Sequence[int], source: Potential, fidelity: str) -> None:
    """Check that a fidelity of a trained model knows all elements that are needed.

    Raises
    ------
    ValueError
        If it does not; names them.
    """
    known = source.elements_of(fidelity)
    unknown = sorted(set(needed) - set(known))
    if unknown:
        raise ValueError(
            f"the model to start from does not know the elements {', '.join(symbols(unknown))}: it "
            f"knows {', '.join(symbols(known))}"
        )


def check_fidelities(needed: Sequence[str], known: Sequence[str]) -> None:
    """Check that a trained model knows just these fidelities, in their order.

    Raises
    ------
    ValueError
        If it does not.
    """
    if set(known) != set(needed):
        raise ValueError(
            f"the model to start from has heads of {', '.join(known)}, but labels are "
            f"given of {', '.join(needed)}: they must be the same"
        )
    if list(known) != list(needed):
        raise ValueError(
            f"the model to start from has the target {known[-1]!r}, and the "
            f"fidelities in the order {', '.join(known)}: give labels in that order"
        )
