"""The run folder: what its files and subfolders are called, and how far its training is."""

import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from idle_md.files import replacing
from idle_md.models import checkpoint_path


class RunFolder:
    """What a training leaves behind; its subfolders are run folders too.

    Parameters
    ----------
    path
        The folder, which need not exist.
    """

    BEST: ClassVar[str] = "best.ckpt"
    METRICS: ClassVar[str] = "metrics.json"
    _MEMBER: ClassVar[str] = "member-"

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        """The configuration that the training was started with."""
        self.log_file = self.path / "log.csv"
        """A row per validation."""
        self.last_checkpoint = self.path / "last.ckpt"
        """What a stopped training is resumed from."""
        self.best_checkpoint = self.path / self.BEST
        """The model with the smallest validation error, which is exported."""
        self.closed_form_file = self.path / "closed_form.ckpt"
        """The model that a closed form corrects, and the correction."""
        self.metrics_file = self.path / self.METRICS
        """Errors on held-out geometries; written last."""
        self.weights_file = self.path / "weights.json"
        """Validation errors of the low-level weights that were tried."""
        self.diagnosis_file = self.path / "diagnosis.json"
        """Whether the low level helped."""

    @property
    def pretraining(self) -> "RunFolder":
        """Of the training that this one goes on from."""
        return RunFolder(self.path / "pretrain")

    @property
    def refinement(self) -> "RunFolder":
        """Of the training by which a model gets to know the geometries of a data set."""
        return RunFolder(self.path / "refine")

    def trial(self, weight: float) -> "RunFolder":
        """Of the short training with a low-level weight."""
        return RunFolder(self.path / "weights" / f"{weight:g}")

    def comparison(self, name: str, seed: int) -> "RunFolder":
        """Of one training of a diagnosis."""
        return RunFolder(self.path / "diagnosis" / f"{name}-{seed}")

    def member(self, number: int) -> "RunFolder":
        """Of a member of the committee, from 0."""
        return RunFolder(self.path / f"{self._MEMBER}{number}")

    def members(self) -> "list[RunFolder]":
        """Of all members of the committee that are there, in their order."""
        names = [e.name.removeprefix(self._MEMBER) for e in self.path.glob(f"{self._MEMBER}*")]
        return [self.member(k) for k in sorted(int(name) for name in names if name.isdecimal())]

    @property
    def is_begun(self) -> bool:
        """Whether a training was started here."""
        return self.config_file.is_file()

    @property
    def is_finished(self) -> bool:
        """Whether a training has ended here."""
        return self.metrics_file.is_file()

    def checkpoints(self) -> list[Path]:
        """Return the best checkpoints of the members, or that of a single training."""
        return [each.best_checkpoint for each in self.members() or [self]]

    def read_metrics(self) -> dict[str, Any]:
        """Return the errors on held-out geometries and what else was written with them."""
        metrics: dict[str, Any] = json.loads(self.metrics_file.read_text())
        return metrics

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the errors on held-out geometries, which ends the training."""
        _write_json(self.metrics_file, metrics)

    def write_weights(self, scores: Mapping[str, Any]) -> None:
        """Write the validation errors of the low-level weights that were tried."""
        _write_json(self.weights_file, scores)

    def write_diagnosis(self, diagnosis: Mapping[str, Any]) -> None:
        """Write whether the low level helped."""
        _write_json(self.diagnosis_file, diagnosis)

    def opened_for(
        self,
        settings: Mapping[str, Any],
        resume: bool,
        alike: Callable[[Any, Any], bool] = operator.eq,
    ) -> "RunFolder":
        """Write the configuration; a training that is there must be the one to resume.

        Parameters
        ----------
        settings
            The configuration as plain values.
        resume
            Whether a training that is there may go on.
        alike
            Whether the value of a setting is what it was, of which the old one is given first.

        Raises
        ------
        ValueError
            If there is a training that is not to be resumed, or was started with another
            configuration.
        OSError
            If the folder cannot be written.
        """
        if self.is_begun:
            if not resume:
                raise ValueError(
                    f"{self.path} already holds a run: pass --resume, or set another out=FOLDER"
                )
            before = yaml.safe_load(self.config_file.read_text())
            changed = [key for key in settings if not alike(before.get(key), settings[key])]
            if changed:
                raise ValueError(
                    f"cannot resume {self.path}: {', '.join(changed)} changed since it was started "
                    f"(see {self.config_file})"
                )
        with replacing(self.config_file) as temporary:
            temporary.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        return self

    def discard_unless_trained(self) -> None:
        """Remove the folder where it holds a configuration and nothing that came of it."""
        if list(self.path.iterdir()) == [self.config_file]:
            self.config_file.unlink()
            self.path.rmdir()


def checkpoints_of(entry: Path) -> list[Path]:
    """Return a checkpoint, also one that is given by name, or those of a run folder."""
    path = checkpoint_path(entry)
    return RunFolder(path).checkpoints() if path.is_dir() else [path]


def folder_of(checkpoints: Sequence[Path]) -> RunFolder | None:
    """Return the run folder whose metrics are those of just these checkpoints together, if any."""
    if len(checkpoints) == 1:
        return RunFolder(checkpoints[0].parent)
    whole = RunFolder(checkpoints[0].parent.parent)
    members = [member.best_checkpoint for member in whole.members()]
    return whole if sorted(checkpoints) == sorted(members) else None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2))
