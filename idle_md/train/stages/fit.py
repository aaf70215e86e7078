"""A fit to the labels of all fidelities at once."""

from rich.console import Console

from idle_md.nn import Potential
from idle_md.run_folder import RunFolder
from idle_md.train.config import TrainConfig
from idle_md.train.fit.loop import fit
from idle_md.train.references import anchor
from idle_md.train.stage import Stage
from idle_md.train.stages.source import check_elements, with_network_of
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import build_task, elements_of


class Fit(Stage):
    """Fits an untrained potential, or goes on with that of the stage before.

    Parameters
    ----------
    config
        What to fit to what.
    folder
        Where to write.
    """

    def __init__(self, config: TrainConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder

    def run(self, potential: Potential | None, resume: bool, console: Console | None) -> Potential:
        """Return the potential with the smallest validation error.

        Raises
        ------
        ValueError
            If a potential to go on with lacks an element.
        """
        if potential is None:
            task = build_task(self.config)
            potential = untrained_potential(task)
        else:
            task = build_task(with_network_of(potential, self.config))
            check_elements(elements_of(task), potential, self.config.target)
            anchor(potential, task)
        return fit(task, potential, self.folder, resume, console)
