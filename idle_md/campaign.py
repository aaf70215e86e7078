"""Active learning: sample, label, train, select, in rounds, within a budget."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from rich.console import Console

from idle_md.configuration import Count, Section, load_section
from idle_md.data import Store, join
from idle_md.files import replacing
from idle_md.label.labelling import label
from idle_md.label.levels import fidelity_name
from idle_md.label.sampling import SampleConfig, from_file, from_smiles, sample
from idle_md.label.selection import Chooser, Score
from idle_md.nn import load_checkpoint
from idle_md.run_folder import RunFolder
from idle_md.train import (
    LeastVariance,
    TrainConfig,
    disagreement,
    parse_config,
    train,
    train_ensemble,
)


class LevelConfig(Section):
    """A level of theory, and the name of its labels."""

    level: str
    fidelity: str | None = None

    @property
    def name(self) -> str:
        """Name of the labels in the store."""
        return self.fidelity or fidelity_name(self.level)


class CampaignConfig(Section):
    """What is grown, in how many rounds."""

    out: Path
    """Folder of the store, the trainings and ``campaign.json``."""
    molecules: list[str]
    """SMILES, files of SMILES, structure files or stores."""
    sample: SampleConfig = SampleConfig()
    """Geometries that each round adds; each round has a seed of its own."""
    low: LevelConfig
    """Labels all geometries."""
    high: LevelConfig
    """Labels those that are chosen."""
    first: Count = 40
    """Expensive labels of the first round, chosen for diversity."""
    per_round: Count = 20
    """Expensive labels of every other round, chosen where models disagree."""
    rounds: Count = 5
    cpu_seconds: Annotated[float, Field(gt=0)] | None = None
    """What all labels may cost; no round begins after that is spent."""
    train: dict[str, Any]
    """Configuration of a training without out, target and data.store: see `idle-md train`. With
    `ensemble`, the members' disagreement selects; with the method `adapt`, the variance of forces
    that is left; otherwise the disagreement of the heads of the two levels."""
    jobs: Count | None = None
    """Processes; one per core by default."""


def load_campaign(path: Path) -> CampaignConfig:
    """Read a YAML configuration.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        For anything that is wrong in it.
    """
    config = load_section(path, CampaignConfig)
    _training(config, 0)  # wrong settings should not wait for the first labels
    return config


def grow(config: CampaignConfig, console: Console) -> list[dict[str, Any]]:
    """Run the rounds and return what each of them did; what is finished is not done again.

    Every round samples new geometries of all molecules, labels them at the low level, chooses some
    of all that have no expensive label yet, labels those, and trains on everything from the start.
    ``campaign.json`` is written after every round; the last training is in ``round-N``.

    Raises
    ------
    ValueError
        If a step cannot be done; see its own function.
    """
    molecules = []
    for source in config.molecules:
        is_structure = Path(source).is_file() and Path(source).suffix not in (".smi", ".txt")
        molecules += from_file(Path(source)) if is_structure else from_smiles([source])
    history = config.out / "campaign.json"
    done: list[dict[str, Any]] = json.loads(history.read_text()) if history.is_file() else []
    path = config.out / "store.h5"
    for number in range(len(done), config.rounds):
        spent = done[-1]["cpu_seconds"] if done else 0.0
        if config.cpu_seconds is not None and spent >= config.cpu_seconds:
            console.print(f"{spent:.0f} CPU s spent on labels: no further round")
            break
        console.rule(f"Round {number + 1} of {config.rounds}")
        _add_geometries(config, molecules, number, path)
        label(path, config.low.level, fidelity=config.low.name, jobs=config.jobs)
        _label_chosen(config, number, path)
        folder = _train(config, number, console)
        done.append(_account(config, number, Store.read(path), folder))
        with replacing(history) as temporary:
            temporary.write_text(json.dumps(done, indent=2))
        console.print(_summary(done[-1]), highlight=False)
    return done


def _add_geometries(config: CampaignConfig, molecules: list[Any], number: int, path: Path) -> None:
    """Add this round's geometries to the store, unless they are there."""
    piece = config.out / f"round-{number}.h5"
    settings = config.sample.model_copy(update={"seed": config.sample.seed + number})
    if not path.is_file():
        sample(molecules, settings, path, jobs=config.jobs)
        return
    store = Store.read(path)
    if (store.info["seed"] == settings.seed).any():
        return
    new, _ = sample(molecules, settings, piece, jobs=config.jobs)
    join([store, new]).write(path)
    piece.unlink()


def _label_chosen(config: CampaignConfig, number: int, path: Path) -> None:
    before = [config.out / f"round-{number - 1}"]
    select: Literal["diverse"] | Score | Chooser = "diverse"
    if number:
        alone = config.train.get("ensemble", 1) == 1
        adapted = alone and _training(config, number).method.name == "adapt"
        select = LeastVariance(before, number) if adapted else disagreement(before)
    label(
        path,
        config.high.level,
        fidelity=config.high.name,
        subset=config.first + number * config.per_round,
        select=select,
        role=config.sample.role,
        jobs=config.jobs,
    )


def _training(config: CampaignConfig, number: int) -> TrainConfig:
    low = {config.low.name: ["energy", "forces"]} if config.train.get("method") != "single" else {}
    forced = {"out": str(config.out / f"round-{number}"), "target": config.high.name}
    data = {**config.train.get("data", {}), "store": str(config.out / "store.h5")}
    clash = sorted(forced.keys() & config.train.keys())
    if clash:
        raise ValueError(f"train.{clash[0]} is set by the campaign: leave it out")
    labels = {**low, config.high.name: ["energy", "forces"]}
    return parse_config({"labels": labels, **config.train, **forced, "data": data}, "train")


def _train(config: CampaignConfig, number: int, console: Console) -> RunFolder:
    training = _training(config, number)
    folder = RunFolder(training.out)
    if not folder.is_finished:
        if training.ensemble > 1:
            train_ensemble(training, training.ensemble, folder.is_begun, console)
        else:
            train(training, folder.is_begun, console)
    return folder


def _account(
    config: CampaignConfig, number: int, store: Store, folder: RunFolder
) -> dict[str, Any]:
    names = (config.low.name, config.high.name)
    seconds = sum(float(np.nansum(store.info[f"{name}_cpu_seconds"])) for name in names)
    _, about = load_checkpoint(folder.checkpoints()[0])
    return {
        "round": number,
        "geometries": store.n_geometries,
        "labels": {name: int(store.has_energy(name).sum()) for name in names},
        "cpu_seconds": seconds,
        "validation": about.get("validation"),
    }


def _summary(entry: dict[str, Any]) -> str:
    labels = ", ".join(f"{count} {name}" for name, count in entry["labels"].items())
    return f"{entry['geometries']} geometries, labels: {labels}; {entry['cpu_seconds']:.0f} CPU s"
