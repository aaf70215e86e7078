"""Fine-tuning: a trained model goes on with the target's labels, each part at a rate of its own.

Discriminative fine-tuning after Zaverkin et al., PCCP 25, 5383 (2023), arXiv 2212.03916, whose
factors could not be read; the defaults here are our own.
"""

import torch

from idle_md.data import fit_reference_energies
from idle_md.elements import symbols
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import SCALE_SHIFT, known_group, parameter_groups
from idle_md.train.errors import potential_predictor, predict_all
from idle_md.train.method import FinetuneConfig
from idle_md.train.task import Task


def start_finetuning(task: Task, source: Potential, fidelity: str, config: FinetuneConfig) -> None:
    """Put a trained model in place of a task's own, and set the rates of its parameters.

    The task's model keeps its one fidelity, the target; with ``head: copy`` its predictions start
    as those of the source plus a shift per element that is fitted to the training labels.

    Parameters
    ----------
    task
        Of the target alone.
    source, fidelity
        Trained model, and which of its heads to go on with.
    config
        Rates by group, groups to initialise again, and how the new head starts.

    Raises
    ------
    ValueError
        If a parameter group or the fidelity does not exist, or an element is unknown to the source.
    """
    column, target = source.column(fidelity), task.potential
    check_elements(target, source)
    start = Potential(source.backbone, target.fidelities, source.hidden)
    if config.head == "copy":
        copy_head(source, fidelity, start, task.config.target)
    # A fidelity with forces alone has none: its labels are the whole shift then.
    start.reference_energies[:, 0] = source.reference_energies[:, column].nan_to_num()
    _reset(start, Potential.from_hyperparameters(start.hyperparameters), config.reset)
    if config.head == "copy":
        _shift_reference_energies(task, start)
    else:
        elements = target.backbone.elements
        start.reference_energies[elements] = target.reference_energies[elements]
    task.potential = start
    task.rates = _rates(start, config)


def start_from(task: Task, source: Potential) -> None:
    """Put a trained model with heads of the same fidelities in place of a task's own.

    Raises
    ------
    ValueError
        If its fidelities are others, or it does not know an element.
    """
    check_elements(task.potential, source)
    if set(source.fidelities) != set(task.potential.fidelities):
        raise ValueError(
            f"the model to start from has heads of {', '.join(source.fidelities)}, but labels are "
            f"given of {', '.join(task.potential.fidelities)}: they must be the same"
        )
    if source.fidelities != task.potential.fidelities:
        raise ValueError(
            f"the model to start from has the target {source.fidelities[-1]!r}, and the "
            f"fidelities in the order {', '.join(source.fidelities)}: give labels in that order"
        )
    task.potential = source


def check_elements(needed: Potential, source: Potential) -> None:
    """Check that a trained model knows all elements that another one needs.

    Raises
    ------
    ValueError
        If it does not; names them.
    """
    unknown = sorted(set(needed.backbone.elements) - set(source.backbone.elements))
    if unknown:
        raise ValueError(
            f"the model to start from does not know the elements {', '.join(symbols(unknown))}: it "
            f"knows {', '.join(symbols(source.backbone.elements))}"
        )


@torch.no_grad()
def copy_head(source: Potential, fidelity: str, target: Potential, name: str) -> None:
    """Make the independent head ``name`` of a potential a copy of a trained one."""
    hidden, output = source.heads.folded(fidelity)
    if hidden is not None:
        target.heads.hidden[name].load_state_dict(hidden.state_dict())
    target.heads.output[name].load_state_dict(output.state_dict())


def _reset(start: Potential, fresh: Potential, names: list[str]) -> None:
    groups, new = parameter_groups(start), parameter_groups(fresh)
    for name in names:
        for old, initial in zip(known_group(groups, name), new[name], strict=True):
            old.data.copy_(initial.data)


def _shift_reference_energies(task: Task, start: Potential) -> None:
    """Fit what the labels have over the start's predictions, per element."""
    column, elements = task.potential.column(start.fidelities[0]), task.potential.backbone.elements
    train = torch.from_numpy(task.splits["train"])
    train = train[~torch.isnan(task.tensors.energies[train, column])]
    predictor = potential_predictor(start, start.fidelities[0])
    predicted, _ = predict_all(predictor, task.tensors, train)
    counts = task.store.element_counts(elements)[train.numpy()]
    labels = task.tensors.energies[train, column].numpy()
    shift = fit_reference_energies(counts, labels - predicted)
    start.reference_energies[elements, 0] += torch.from_numpy(shift)


def _rates(potential: Potential, config: FinetuneConfig) -> dict[str, float]:
    groups = parameter_groups(potential)
    rates = {name: float(name != SCALE_SHIFT) for name in groups}
    for name, factor in config.rates.items():
        known_group(groups, name)
        rates[name] = factor
    for name, parameters in groups.items():
        for parameter in parameters:
            parameter.requires_grad_(rates[name] > 0)
    return rates
