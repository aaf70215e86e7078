"""What is compared: experiments, the trainings in them, and the configuration of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from idle_md.train import TrainConfig, load_config

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "methods"
LOW, JUDGED, ROLES = "gfn2", "chno-mini", ("test", "ood")
TRIVIAL = "trivial"
STEPS: Mapping[str, Mapping[str, Any]] = {  # not minutes: neither machine nor load shall decide
    "single": {"budget": {"steps": 3000, "early_stopping": 10}},
    "delta": {"budget": {"steps": 3000, "early_stopping": 10}},
    "idle": {"budget": {"steps": 10_000}},
    "idle_finetune": {"budget": {"steps": 10_000}},
    "transfer": {},
    "adapt": {"method.student.budget": {"steps": 4000}},
}
RATES: Mapping[str, tuple[str, tuple[float, ...]]] = {  # tried; the best by validation counts
    "single": ("optimizer.learning_rate", (2e-3, 5e-3, 1e-2)),
    "delta": ("optimizer.learning_rate", (5e-4, 2e-3, 5e-3)),
    "transfer": ("method.finetune.learning_rate", (2e-4, 5e-4, 1.5e-3)),
}
FROM_BASE = ("transfer", "adapt")  # start from a model of the low level
FEW = (12, 24, 36, 72, 144)
MORE = (300, 600, 1200, 2100)


@dataclass(frozen=True)
class Experiment:
    """Methods at several numbers of labels of a high level.

    Attributes
    ----------
    title
        What is asked.
    high
        The level that is learned.
    kinds
        Which of its labels are shown.
    budgets
        Numbers of labels by method.
    """

    title: str
    high: str
    kinds: Sequence[str]
    budgets: Mapping[str, Sequence[int]] = field(default_factory=dict)


def _budgets(most: int) -> dict[str, tuple[int, ...]]:
    few = tuple(budget for budget in FEW if budget <= most)
    more = tuple(budget for budget in MORE if budget <= most)
    some = few + more[1::2]
    return {
        **dict.fromkeys([TRIVIAL, *STEPS], few),
        **dict.fromkeys(FROM_BASE, some),
        "single": few + more,
    }


EXPERIMENTS = {
    "a": Experiment("GFN2-xTB to wB97X, energies alone", "wb97x", ["energy"], _budgets(2100)),
    "a'": Experiment(
        "GFN2-xTB to wB97X, energies and forces", "wb97x", ["energy", "forces"], _budgets(2100)
    ),
    "c": Experiment(
        "GFN2-xTB to CCSD(T)/cc-pVDZ, energies alone", "ccsdt", ["energy"], _budgets(280)
    ),
}


@dataclass(frozen=True)
class Job:
    """One method with one number and draw of labels."""

    experiment: str
    method: str
    budget: int
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        letter = self.experiment.replace("'", "-forces")
        return f"{letter}-{self.method}-{self.budget}-{self.seed}"

    def configurations(self, place: "Place") -> list[TrainConfig]:
        """Return its trainings, of which the one that validates best counts."""
        key, rates = RATES.get(self.method, ("", ()))
        if not rates:
            return [self._configuration(place, "", {})]
        return [self._configuration(place, f"-{rate}", {key: rate}) for rate in rates]

    def _configuration(self, place: "Place", suffix: str, more: dict[str, Any]) -> TrainConfig:
        experiment = EXPERIMENTS[self.experiment]
        example = EXAMPLES / f"{self.method}.yaml"
        learned = {LOW} & yaml.safe_load(example.read_text())["labels"].keys()
        values = {
            "out": str(place.out / "runs" / f"{self.name}{suffix}"),
            "target": experiment.high,
            "labels": {
                **{level: ["energy", "forces"] for level in learned},
                experiment.high: list(experiment.kinds),
            },
            "data": {
                "store": place.store,
                "split": {"seed": self.seed, "validation": 0.005},
                "budgets": {experiment.high: self.budget},
            },
            "seed": self.seed,
            "threads": 1,
            **STEPS[self.method],
            **more,
        }
        if self.method in FROM_BASE:
            values["method.checkpoint"] = str(place.base)
        changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        return load_config(example, changes)


@dataclass(frozen=True)
class Place:
    """Where data are read and results are kept."""

    out: Path
    store: str
    base: Path

    @property
    def rows(self) -> Path:
        """Folder of finished jobs' errors."""
        return self.out / "rows"

    def row(self, job: Job) -> Path:
        """Return the file of a finished job's errors."""
        return self.rows / f"{job.name}.json"


def jobs(
    experiments: Sequence[str], methods: Sequence[str], seeds: Sequence[int], most: int
) -> list[Job]:
    """Return what is to be trained, one draw of labels after the other."""
    found = []
    for seed, letter, method in product(seeds, experiments, methods):
        budgets = EXPERIMENTS[letter].budgets.get(method, ())
        found += [Job(letter, method, budget, seed) for budget in budgets if budget <= most]
    return found
