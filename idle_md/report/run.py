"""A finished run as a report needs it: configuration, data, metrics, the trainings inside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idle_md.data import Store, load, split
from idle_md.run_folder import RunFolder
from idle_md.train import TrainConfig, load_config
from idle_md.train.batches import Indices
from idle_md.train.fit.callbacks import Row, read_log


@dataclass(frozen=True)
class Training:
    """One training of a run: the last, one that it goes on from, or that of a member.

    Attributes
    ----------
    stage
        What members have in common: the subfolder, or nothing for the last training.
    path
        Folder inside of the run folder.
    metrics
        Its errors, label counts and seconds.
    rows
        Of its log; none where nothing was fitted in steps.
    """

    stage: str
    path: Path
    metrics: dict[str, Any]
    rows: list[Row]

    @property
    def minutes(self) -> float:
        """What it took."""
        return float(self.metrics["train_seconds"]) / 60.0


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    folder, config, metrics
        Where it is, what it was started with, what it ended with.
    store
        The data set with all of its labels.
    splits
        Indices of its geometries by role.
    trainings
        In the order in which they were done.
    """

    folder: RunFolder
    config: TrainConfig
    metrics: dict[str, Any]
    store: Store
    splits: dict[str, Indices]
    trainings: list[Training]


def open_run(path: Path, data: str | None = None) -> Run:
    """Read a run folder and its data set.

    Parameters
    ----------
    path
        The folder.
    data
        Where the data set is, if no longer where the configuration says.

    Raises
    ------
    FileNotFoundError
        If the folder or the data set is not there.
    ValueError
        If it is no run folder, or its training has not ended.
    """
    folder = RunFolder(path)
    if not path.exists():
        raise FileNotFoundError(f"no run folder at {path}: give one that `idle-md train` wrote")
    if not folder.is_begun:
        raise ValueError(
            f"{path} is no run folder, it has no {folder.config_file.name}: give the `out` of a "
            "training"
        )
    if not folder.is_finished:
        raise ValueError(
            f"the run in {path} is not finished: go on with `idle-md train {folder.config_file} "
            "--resume`"
        )
    config = load_config(folder.config_file)
    if data is not None:
        moved = config.data.model_copy(update={"store": data})
        config = config.model_copy(update={"data": moved})
    store = _load(folder, config, data)
    splits = split(store, **config.data.split.model_dump())
    return Run(folder, config, folder.read_metrics(), store, splits, _trainings(folder))


def _load(folder: RunFolder, config: TrainConfig, data: str | None) -> Store:
    try:
        return load(config.data.store)
    except FileNotFoundError:
        if data is not None:
            raise
        raise FileNotFoundError(
            f"the data set {config.data.store} of {folder.config_file} is not there: say where it "
            "is now with --data FILE"
        ) from None


def _trainings(folder: RunFolder) -> list[Training]:
    parts = [
        (part, each)
        for part in folder.members() or [folder]
        for each in (part.pretraining, part.refinement, part)
        if each.is_finished
    ]
    return [
        Training(
            stage="" if part is each else each.path.name,
            path=each.path.relative_to(folder.path),
            metrics=each.read_metrics(),
            rows=read_log(each.log_file),
        )
        for part, each in parts
    ]
