"""Fine-tuning: a trained model goes on with the target's labels, each part at a rate of its own.

Discriminative fine-tuning after Zaverkin et al., PCCP 25, 5383 (2023), arXiv 2212.03916, whose
factors could not be read; the defaults here are our own.
"""

import torch
from rich.console import Console

from idle_md.data import fit_reference_energies
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import SCALE_SHIFT, known_group, parameter_groups
from idle_md.run_folder import RunFolder
from idle_md.train.config import TrainConfig
from idle_md.train.fit.loop import fit
from idle_md.train.prediction import potential_predictor, predict_all
from idle_md.train.references import anchor
from idle_md.train.sections import FinetuneConfig
from idle_md.train.stage import Stage
from idle_md.train.stages.source import check_elements, with_network_of
from idle_md.train.stages.untrained import scale_and_references, training_energies
from idle_md.train.task import Task, build_task, elements_of

MOST_SHIFTED = 2000  # geometries that shifts of reference energies are fitted to


class Finetune(Stage):
    """Goes on with one head of the potential of the stage before, on the target alone.

    Parameters
    ----------
    config
        A training on the target alone; its backbone and heads are those of the potential.
    folder
        Where to write.
    source
        Fidelity of the potential whose head is gone on with.
    settings
        Rates by group, groups to initialise again, and how the new head starts.
    """

    def __init__(
        self, config: TrainConfig, folder: RunFolder, source: str, settings: FinetuneConfig
    ) -> None:
        self.config = config
        self.folder = folder
        self.source = source
        self.settings = settings

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        assert potential is not None
        task = build_task(with_network_of(potential, self.config))
        start = finetuning_start(task, potential, self.source, self.settings)
        rates = parameter_rates(start, self.settings)
        return fit(task, start, self.folder, resume, console, rates)


def finetuning_start(
    task: Task, source: Potential, fidelity: str, settings: FinetuneConfig
) -> Potential:
    """Return the potential that fine-tuning starts with: the source's backbone and one new head.

    With ``head: copy`` its predictions start as those of the source plus a shift per element that
    is fitted to the training labels, or that reference energies which are given make.

    Parameters
    ----------
    task
        Of the target alone.
    source, fidelity
        Trained model, and which of its heads to go on with.
    settings
        Groups to initialise again, and how the new head starts.

    Raises
    ------
    ValueError
        If a parameter group or the fidelity does not exist, or an element is unknown to the source.
    """
    column, target = source.column(fidelity), task.config.target
    check_elements(elements_of(task), source, fidelity)
    torch.manual_seed(task.config.seed)
    source = source.unanchored()
    if settings.head == "copy":
        start = source.alone(fidelity, target)
    else:
        start = Potential(source.backbone, [target], source.hidden)
    # A fidelity with forces alone has none: its labels are the whole shift then.
    start.reference_energies[:, 0] = source.reference_energies[:, column].nan_to_num()
    _reset(start, settings.reset)
    anchor(start, task)
    if not start.anchored and settings.head == "copy":
        shift_reference_energies(task, start)
    elif not start.anchored:
        _, fitted = scale_and_references(task, training_energies(task)[:, 0], 0)
        start.reference_energies[task.elements, 0] = torch.from_numpy(fitted)
    start.forget_other_elements(target, elements_of(task, 0))
    return start


def _reset(start: Potential, names: list[str]) -> None:
    if not names:
        return
    fresh = Potential.from_hyperparameters(start.hyperparameters)
    groups, new = parameter_groups(start), parameter_groups(fresh)
    for name in names:
        for old, initial in zip(known_group(groups, name), new[name], strict=True):
            old.data.copy_(initial.data)


def shift_reference_energies(task: Task, start: Potential) -> None:
    """Fit what the labels have over the start's predictions, per element."""
    train = torch.from_numpy(task.splits["train"])
    train = train[~torch.isnan(task.tensors.energies[train, 0])]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    train = train[order[:MOST_SHIFTED].sort().values]
    predictor = potential_predictor(start, start.fidelities[0])
    predicted, _, _ = predict_all(predictor, task.tensors, train)
    counts = task.store.element_counts(task.elements)[train.numpy()]
    labels = task.tensors.energies[train, 0].numpy()
    shift = fit_reference_energies(counts, labels - predicted)
    start.reference_energies[task.elements, 0] += torch.from_numpy(shift)


def parameter_rates(potential: Potential, settings: FinetuneConfig) -> dict[str, float]:
    """Return factors on the learning rate by parameter group, and freeze those where it is zero.

    Raises
    ------
    ValueError
        If a parameter group does not exist.
    """
    groups = parameter_groups(potential)
    rates = {name: float(name != SCALE_SHIFT) for name in groups}
    for name, factor in settings.rates.items():
        known_group(groups, name)
        rates[name] = factor
    for name, parameters in groups.items():
        for parameter in parameters:
            parameter.requires_grad_(rates[name] > 0)
    return rates
