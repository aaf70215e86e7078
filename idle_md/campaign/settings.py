"""What a campaign makes, where it keeps it, and how it goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, NonNegativeInt, model_validator
from pydantic_core import PydanticCustomError

from idle_md.configuration import Count, Positive, Section, load_section
from idle_md.files import replacing
from idle_md.label.levels import fidelity_name
from idle_md.label.sampling import Molecule, SampleConfig, from_file, from_smiles
from idle_md.run_folder import RunFolder

HELD_OUT = 0.1  # of the expensive labels
FEWEST_HELD_OUT = 2  # of a molecule, or there are no relative energies
BACKBONE = {"name": "painn", "features": 64, "interactions": 2, "cutoff": 4.0, "n_radial": 10}


class CampaignSettings(Section):
    """What is made of which molecules."""

    molecules: list[str] = Field(min_length=1)
    """SMILES, files of SMILES, structure files or stores."""
    level: str
    """Level of theory of the potential."""
    low: str = "gfn2"
    """Cheap level of theory, which labels all geometries."""
    labels: list[Count] = Field(default=[40], min_length=1)
    """Expensive labels that every round adds, those that are held out among them."""
    base: Path | None = None
    """Trained model of the cheap level to start from, or the name of a shipped one."""
    new_base: bool = False
    """Whether a model of the cheap level is trained although a shipped one would do."""
    sample: SampleConfig = SampleConfig(frames=1000)
    minutes: Positive | None = None
    """Of training: two fifths for the model of the cheap level, the rest for each potential; by
    default as many steps as do, so that the same comes out on every machine."""
    picoseconds: Positive = 20.0
    """Of molecular dynamics with the finished potential."""
    backbone: dict[str, Any] = BACKBONE
    """Network, where no base is given."""
    threads: Count | None = None
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _one_base(self) -> "CampaignSettings":
        if self.new_base and self.base is not None:
            raise PydanticCustomError(
                "base", f"a model is either trained or that of {self.base}: give one of the two"
            )
        return self

    @model_validator(mode="after")
    def _two_levels(self) -> "CampaignSettings":
        if self.high_name == self.low_name:
            raise PydanticCustomError(
                "levels", f"{self.level} is the cheap level as well: give another --level or --low"
            )
        return self

    @property
    def high_name(self) -> str:
        """Name of the expensive labels in the store."""
        return fidelity_name(self.level)

    @property
    def low_name(self) -> str:
        """Name of the cheap labels in the store."""
        return fidelity_name(self.low)

    def read_molecules(self) -> list[Molecule]:
        """Return the molecules.

        Raises
        ------
        FileNotFoundError, ValueError
            If one cannot be read, or two have the same name.
        """
        found: list[Molecule] = []
        for source in self.molecules:
            is_structure = Path(source).is_file() and Path(source).suffix not in (".smi", ".txt")
            found += from_file(Path(source)) if is_structure else from_smiles([source])
        names = [molecule.name for molecule in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two molecules are called {twice[0]!r}: give them names of their own")
        return found

    def held_out(self, labels: int, n_molecules: int) -> int:
        """Return how many of so many expensive labels are held out for the error."""
        return min(max(FEWEST_HELD_OUT * n_molecules, round(HELD_OUT * labels)), labels // 3)


class CampaignFolder:
    """What a campaign leaves behind.

    Parameters
    ----------
    path
        The folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file = path / "campaign.yaml"
        self.store = path / "store.h5"
        """Geometries and labels."""
        self.base = RunFolder(path / "base")
        """Model of the cheap level."""
        self.model = path / "model.pt"
        self.report = path / "report.html"
        self.trajectory = path / "md.xyz"
        self.results_file = path / "results.json"
        """What every round gave; the last entry is written last of all."""

    def round(self, number: int) -> RunFolder:
        """Of the training of a round, from 0."""
        return RunFolder(self.path / f"round-{number}")

    def choice_file(self, number: int) -> Path:
        """Of the geometries that have an expensive label after a round."""
        return self.path / f"round-{number}.chosen.json"

    def read_results(self) -> list[dict[str, Any]]:
        """Return what every finished round gave."""
        if not self.results_file.is_file():
            return []
        results: list[dict[str, Any]] = json.loads(self.results_file.read_text())
        return results

    def write_results(self, results: list[dict[str, Any]]) -> None:
        """Write what every finished round gave."""
        with replacing(self.results_file) as temporary:
            temporary.write_text(json.dumps(results, indent=1))

    def remove_trajectory(self) -> None:
        """Remove the dynamics of the round before, or what a stopped one left."""
        for file in self.path.glob(f"{self.trajectory.stem}.*"):
            file.unlink()


def check_free(path: Path) -> None:
    """Check that a folder holds no campaign.

    Raises
    ------
    ValueError
        If it does.
    """
    if CampaignFolder(path).settings_file.is_file():
        raise ValueError(
            f"{path} already holds a campaign: go on with --resume or --more N and without "
            "molecules, or give another --out"
        )


def open_campaign(
    path: Path, given: CampaignSettings | None, resume: bool, more: int | None
) -> tuple[CampaignSettings, CampaignFolder]:
    """Return the settings of a campaign, old or new, and write them to its folder.

    Parameters
    ----------
    path
        The folder.
    given
        Settings of a new campaign; None for one that goes on.
    resume
        Whether one that is there may go on.
    more
        Labels of a further round.

    Raises
    ------
    ValueError
        If there is a campaign that is not to go on, or none that could.
    """
    folder = CampaignFolder(path)
    if given is not None:
        check_free(path)
        settings = given
    elif not folder.settings_file.is_file():
        raise ValueError(f"there is no campaign in {path}: give molecules, --level and --labels")
    elif not (resume or more):
        raise ValueError(f"to go on with the campaign in {path}, say --resume or --more N")
    else:
        settings = load_section(folder.settings_file, CampaignSettings)
    if more:
        labels: Sequence[int] = [*settings.labels, more]
        settings = settings.model_copy(update={"labels": labels})
    with replacing(folder.settings_file) as temporary:
        temporary.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    return settings, folder
