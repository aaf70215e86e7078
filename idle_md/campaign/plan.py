"""What a campaign will do and cost, measured before it begins."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idle_md.campaign.settings import CampaignSettings
from idle_md.label.calculation import calculate, cpu_seconds
from idle_md.label.levels import find_level
from idle_md.label.programs.base import LabelError
from idle_md.label.sampling import Molecule
from idle_md.label.sampling.conformers import start_of
from idle_md.nn import levels, load_checkpoint
from idle_md.train.stages.source import check_elements, model_of

SHIPPED = "idle-s"


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    settings
        Of the campaign.
    molecules
        Its molecules.
    seconds
        CPU time of a label of the largest molecule by level, measured on one geometry.
    forces
        Whether the expensive level gives forces.
    why_new_base
        Why no shipped model is started from, if that is so.
    """

    settings: CampaignSettings
    molecules: Sequence[Molecule]
    seconds: dict[str, float]
    forces: bool
    why_new_base: str | None

    @property
    def cpu_minutes(self) -> float:
        """Estimate of the time of all labels on one core."""
        settings = self.settings
        geometries = len(self.molecules) * settings.sample.frames
        steps = settings.sample.interval_fs / settings.sample.timestep_fs
        cheap = geometries * (1 + steps * settings.sample.mix.get("md", 0.0))
        labels = (
            cheap * self.seconds[settings.low] + settings.labels[-1] * self.seconds[settings.level]
        )
        return labels / 60

    def lines(self, jobs: int | None = None, scheduler: str | None = None) -> list[str]:
        """Return what a person reads; labels are calculated by so many processes, or a cluster."""
        processes = jobs or os.cpu_count() or 1
        labels = f"{self.cpu_minutes / processes:.0f} min of labels in {processes} processes"
        if scheduler is not None:
            labels = f"{self.cpu_minutes:.0f} CPU min of labels on the workers of {scheduler}"
        settings, names = self.settings, ", ".join(each.name for each in self.molecules)
        training = "some 10" if settings.minutes is None else f"{settings.minutes:g}"
        start = f"starts from {settings.base}"
        if settings.base is None:
            start = f"trains a model of {settings.low} of its own: {self.why_new_base}"
        kinds = "energies and forces" if self.forces else "energies, for it has no forces"
        return [
            f"{len(self.molecules)} molecules: {names}" if len(self.molecules) > 1 else names,
            f"{settings.sample.frames:,} geometries of each, labelled at {settings.low} "
            f"({self.seconds[settings.low]:.2g} CPU s each)",
            f"{settings.labels[-1]} of them labelled at {settings.level}, {kinds}: "
            f"{self.seconds[settings.level]:.2g} CPU s each for the largest, measured",
            start,
            f"about {labels}, and {training} min of training",
        ]


def measured(settings: CampaignSettings, molecules: Sequence[Molecule]) -> Plan:
    """Return the plan of a campaign; its largest molecule is calculated once at both levels.

    It starts from a shipped model of the cheap level that knows the elements, unless the settings
    say another one, or none.

    Raises
    ------
    ValueError
        If it cannot be calculated at one of them, or the base does not know the cheap level or an
        element there.
    FileNotFoundError
        If there is no such base.
    """
    starts = {each.name: (start_of(each, settings.seed), each.charge) for each in molecules}
    numbers = sorted({int(z) for atoms, _ in starts.values() for z in atoms.numbers})
    why_new_base = "as asked for" if settings.new_base else None
    if settings.base is not None:
        check_base(settings.base, settings, numbers)
    elif not settings.new_base:
        try:
            check_base(Path(SHIPPED), settings, numbers)
            settings = settings.model_copy(update={"base": Path(SHIPPED)})
        except ValueError as error:
            why_new_base = f"{SHIPPED} does not do ({error})"
    name = max(starts, key=lambda each: len(starts[each][0]))
    atoms, charge = starts[name]
    seconds = {}
    for level in (settings.low, settings.level):
        program = find_level(level)
        begun = cpu_seconds()
        try:
            found = calculate(program, atoms, charge)
        except LabelError as error:
            raise ValueError(f"{name} cannot be calculated at {level}: {error}") from error
        seconds[level] = cpu_seconds() - begun
    return Plan(settings, molecules, seconds, found.forces is not None, why_new_base)


def check_base(base: Path, settings: CampaignSettings, numbers: Sequence[int]) -> None:
    """Check what would otherwise be found out after all labels of the cheap level.

    Raises
    ------
    ValueError
        If a model does not know the cheap level, or an element there.
    FileNotFoundError
        If there is no such model.
    """
    known = levels(*load_checkpoint(base))
    check_elements(numbers, model_of(known, settings.low_name), settings.low_name)
