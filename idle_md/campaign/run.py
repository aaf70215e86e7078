"""The steps of a campaign; what is done is not done again, wherever it was stopped."""

import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from idle_md.campaign.settings import CampaignFolder, CampaignSettings
from idle_md.data import Store
from idle_md.deploy import export_checkpoint
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.parity.check import check_engines
from idle_md.files import replacing
from idle_md.label.labelling import label
from idle_md.label.sampling import sample
from idle_md.label.selection import Chooser, Indices, choose
from idle_md.progress import LongTask
from idle_md.report import write_report
from idle_md.train import LeastVariance, TrainConfig, adapt_config, parse_config
from idle_md.train.prediction import has_compiler
from idle_md.train.run import train_unless_finished

STEPS = {"base": 6000, "refined": 2000, "student": 4000}
BASE_SHARE = 0.4  # of the minutes, where they are given
VALIDATION = 0.05
LEARNING_RATES = {"base": 8e-3, "refined": 1e-3}
TIMESTEP_FS = 0.5
Results = list[dict[str, Any]]


class GivenChoice:
    """Chooses what was chosen before, so that a run that was stopped ends as one that was not.

    Parameters
    ----------
    indices
        Of the store's geometries.
    """

    def __init__(self, indices: Indices) -> None:
        self.indices = indices

    def choose(self, store: Store, candidates: Indices, n: int, known: Indices) -> Indices:
        """Return those of the candidates that were chosen."""
        return np.intersect1d(candidates, self.indices)


class Campaign:
    """Makes a potential of a level of theory for some molecules.

    Parameters
    ----------
    settings
        What is made.
    folder
        Where.
    console
        Where progress is shown.
    jobs, scheduler
        Processes that label here, or a running Dask scheduler.
    """

    def __init__(
        self,
        settings: CampaignSettings,
        folder: CampaignFolder,
        console: Console,
        jobs: int | None = None,
        scheduler: str | None = None,
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.console = console
        self._where: dict[str, Any] = {"jobs": jobs, "scheduler": scheduler}

    def run(self) -> Results:
        """Do what is left to do, and return what every round gave.

        Raises
        ------
        ValueError
            If a step cannot be done; names it.
        """
        results = self.folder.read_results()
        for number in range(len(results), len(self.settings.labels)):
            self._sample()
            self._label_cheaply()
            self._train_base()
            self._label_chosen(number)
            self._adapt(number)
            results.append(self._prove(number))
            self.folder.write_results(results)
        return results

    def _sample(self) -> None:
        if self.folder.store.is_file():
            return
        self.console.rule("1. Sample")
        molecules = self.settings.read_molecules()
        n_test = round(self.settings.sample.frames * VALIDATION) + 2
        config = self.settings.sample.model_copy(
            update={"test": n_test, "level": self.settings.low, "seed": self.settings.seed}
        )
        with LongTask("molecules", self.console) as shown:
            _, failures = sample(
                molecules, config, self.folder.store, progress=shown.update, **self._where
            )
        for name, problem in failures.items():
            self.console.print(f"not sampled: {name}: {problem}", style="yellow")

    def _label_cheaply(self) -> None:
        store = Store.read(self.folder.store)
        name = self.settings.low_name
        if f"{name}_status" in store.info and (store.info[f"{name}_status"] != "").all():
            return
        self.console.rule(f"2. Label all {store.n_geometries:,} geometries at {self.settings.low}")
        self._label(self.settings.low)

    def _train_base(self) -> None:
        if self.folder.base.is_finished:
            return
        what = "Train a model of" if self.settings.base is None else "Refine the model of"
        self.console.rule(f"3. {what} {self.settings.low}")
        train_unless_finished(self._base_config(), self.console)

    def _base_config(self) -> TrainConfig:
        settings, name = self.settings, self.settings.low_name
        given = settings.base is not None
        budget = self._budget("refined" if given else "base", BASE_SHARE)
        method: dict[str, Any] = {"name": "single"}
        if given:
            rate = {"learning_rate": LEARNING_RATES["refined"], "batch_size": 40}
            method = {
                "name": "transfer",
                "source": name,
                "checkpoint": str(settings.base),
                "finetune": {**rate, "budget": budget},
            }
        return parse_config(
            {
                "out": str(self.folder.base.path),
                "target": name,
                "labels": {name: ["energy", "forces"]},
                "data": {
                    "store": str(self.folder.store),
                    "split": {"by": "geometry", "validation": VALIDATION, "seed": settings.seed},
                },
                "method": method,
                "backbone": settings.backbone,
                "optimizer": {"learning_rate": LEARNING_RATES["base"]},
                "budget": budget,
                "compile": not given and has_compiler(),
                "seed": settings.seed,
                "threads": settings.threads,
            }
        )

    def _label_chosen(self, number: int) -> None:
        labels = sum(self.settings.labels[: number + 1])
        store = Store.read(self.folder.store)
        n_test = self.settings.held_out(labels, len(set(store.group.tolist())))
        self.console.rule(f"4. Label {labels} geometries at {self.settings.level}")
        chosen = self._chosen(number, store, labels - n_test, n_test)
        self._label(self.settings.level, GivenChoice(chosen))
        found = Store.read(self.folder.store)
        if not found.has_energy(self.settings.high_name).any():
            raise ValueError(f"no geometry could be labelled at {self.settings.level}, see above")

    def _chosen(self, number: int, store: Store, n_train: int, n_test: int) -> Indices:
        """Return all that have the expensive label in the end, held-out ones included.

        Chosen once: those to learn from by the variance that is left, those held out by chance.
        """
        file = self.folder.choice_file(number)
        if not file.is_file():
            models = [self.folder.base, *(self.folder.round(k) for k in range(number))]
            least = LeastVariance([models[-1].best_checkpoint], self.settings.seed)
            is_test, done = store.role == "test", np.zeros(store.n_geometries, np.bool_)
            if self.settings.high_name in store.labels:
                done = store.has_energy(self.settings.high_name)
            usable = store.has_energy(self.settings.low_name)
            both = [np.flatnonzero(done)]
            ways: list[tuple[NDArray[np.bool_], int, Literal["random"] | Chooser]] = [
                (~is_test, n_train, least),
                (is_test, n_test, "random"),
            ]
            for part, n, way in ways:
                candidates, known = (
                    np.flatnonzero(part & usable & ~done),
                    np.flatnonzero(part & done),
                )
                missing = min(max(0, n - len(known)), len(candidates))
                both.append(choose(store, candidates, missing, way, self.settings.seed, known))
            with replacing(file) as temporary:
                temporary.write_text(json.dumps(np.sort(np.concatenate(both)).tolist()))
        return np.array(json.loads(file.read_text()), dtype=np.int64)

    def _adapt(self, number: int) -> None:
        run = self.folder.round(number)
        if run.is_finished:
            return
        self.console.rule(f"5. Adapt to {self.settings.level}")
        config = adapt_config(
            self.folder.base.best_checkpoint,
            str(self.folder.store),
            self.settings.high_name,
            run.path,
            self.settings.low_name,
            seed=self.settings.seed,
            student={"budget": self._budget("student", 1 - BASE_SHARE)},
        )
        threads = {"threads": self.settings.threads}
        train_unless_finished(config.model_copy(update=threads), self.console)

    def _prove(self, number: int) -> dict[str, Any]:
        """Export, compare the engines, run dynamics, write the page; return what came out."""
        run, settings = self.folder.round(number), self.settings
        self.console.rule("6. Export, check, run")
        export_checkpoint(run.best_checkpoint, None, self.folder.model)
        check = check_engines(self.folder.model)
        if check.failures:
            engine, structure, quantity = check.failures[0]
            raise ValueError(f"{engine} differs in {quantity} of {structure}: see `idle-md check`")
        ran = [each.engine for each in check.comparisons if each.why_not is None]
        self.console.print(f"same numbers in {', '.join(ran)}")
        _, sentence = write_report(run.path, self.folder.report)
        self.console.print(sentence, style="bold")
        store, metrics = Store.read(self.folder.store), run.read_metrics()
        spent = {
            name: float(np.nansum(store.info[f"{name}_cpu_seconds"]))
            for name in (settings.low_name, settings.high_name)
        }
        return {
            "round": number,
            "labels": {name: int(store.has_energy(name).sum()) for name in spent},
            "cpu_seconds": spent,
            "engines": ran,
            "test": metrics["test"].get(settings.high_name),
            "dynamics": self._dynamics(store),
        }

    def _dynamics(self, store: Store) -> dict[str, Any]:
        """Return how the first molecule's dynamics went."""
        self.folder.remove_trajectory()
        settings = MDSettings(
            timestep_fs=TIMESTEP_FS,
            steps=round(1e3 * self.settings.picoseconds / TIMESTEP_FS),
            minimize=True,
            trajectory=self.folder.trajectory,
            seed=self.settings.seed,
        )
        try:
            result = run_md(self.folder.model, store.atoms(0), settings)
        except ModuleNotFoundError as error:
            return {"not_run": str(error)}
        except ValueError as error:
            self.console.print(f"{error}\nMore labels help: --more", style="red")
            return {"stopped": str(error)}
        picoseconds, speed = self.settings.picoseconds, result.ns_per_day
        self.console.print(f"{picoseconds:g} ps at 300 K, {speed:.3g} ns/day")
        return {"picoseconds": picoseconds, "ns_per_day": speed}

    def _budget(self, what: str, share: float) -> dict[str, Any]:
        if self.settings.minutes is None:
            return {"steps": STEPS[what], "validate_every": 250}
        return {"minutes": share * self.settings.minutes, "validate_every": 250}

    def _label(self, level: str, choice: GivenChoice | None = None) -> None:
        chosen: dict[str, Any] = (
            {} if choice is None else {"select": choice, "subset": len(choice.indices)}
        )
        with LongTask(level, self.console) as shown:
            report = label(
                self.folder.store,
                level,
                progress=lambda done, failed, total: shown.update(done, total, failed),
                **chosen,
                **self._where,
            )
        for reason, count in report.reasons.most_common():
            self.console.print(f"{count} failed: {reason}", style="yellow")
