"""The steps of the quickstart and the report that they add up to."""

import importlib.metadata
import json
import os
import platform
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from idle_md.data import load
from idle_md.deploy import DeployedModel, export_checkpoint
from idle_md.deploy import load as load_model
from idle_md.deploy.timing import compare_inference
from idle_md.engines.choices import Ensemble
from idle_md.engines.dynamics import run_md
from idle_md.engines.md_settings import MDSettings
from idle_md.engines.results import MDResult
from idle_md.files import replacing
from idle_md.native.build import build_operators
from idle_md.native.places import find_library
from idle_md.nn import load_checkpoint
from idle_md.quickstart.page import render
from idle_md.quickstart.trainings import learning_curves, train_side_by_side, training_seconds
from idle_md.report.baseline import TrivialBaseline, ratios, verdict
from idle_md.run_folder import RunFolder
from idle_md.train import parse_config
from idle_md.train.config import TrainConfig
from idle_md.train.errors import Errors, Parity, errors_of_deployed
from idle_md.train.prediction import has_compiler

DATA = "chno-mini"
HIGH, LOW = "wb97x", "gfn2"
MOLECULE = "ethanol"
TEMPERATURE_K = 300.0
TIMESTEP_FS = 0.5
METHODS = {"single": "single", "idle": "adapt"}
BASE = "idle-s"  # knows LOW
LEARNING_RATE = 2e-3  # of the control: the best of those tried, 5e-4 to 8e-3
VALIDATE_EVERY = {"idle": 250, "single": 100}  # steps; there are more low-level labels to look at
ENSEMBLES: tuple[Ensemble, ...] = ("nve", "nvt")
WORTH_COMPILING = 3.0  # minutes of training
Report = dict[str, Any]


def run(
    out: Path,
    minutes: float,
    labels: int,
    picoseconds: float,
    threads: int | None,
    console: Console,
) -> Report:
    """Run everything and return what is written to ``report.json``.

    Parameters
    ----------
    out
        Folder for ``report.json``, ``report.html``, ``idle.pt``, ``single.pt``, the trajectory and
        the run folders of both trainings.
    minutes
        Wall time of each training; both run at the same time. The closed form comes on top of it.
    labels
        Geometries with high-level energies and forces that both may use, in all.
    picoseconds
        Length of the NVE and of the Langevin run.
    threads
        CPU threads of each training; None: half the cores.
    console
        Where to show progress.

    Raises
    ------
    ValueError
        If the folder holds an earlier quickstart, or something does not fit.
    """
    if (out / "report.json").exists() or (out / "trainings").exists():
        raise ValueError(f"{out} already holds a quickstart: remove it, or give another --out")
    threads = threads or max(1, (os.cpu_count() or 2) // 2)
    configs = {n: configuration(n, out, minutes, labels, threads) for n in METHODS}
    _build_operators(console)
    console.rule(
        f"1. {BASE} learns {labels} {HIGH} labels; {minutes:g} min, and a control on them alone"
    )
    metrics = train_side_by_side(configs, console)
    console.rule("2. Export, evaluate")
    models = {name: _export(out, name) for name in configs}
    errors, parity = _evaluate(models, configs["idle"])
    console.rule("3. Inference time, side by side")
    timing = _time(models)
    console.rule(f"4. OpenMM: NVE and Langevin, {picoseconds:g} ps each")
    dynamics = _dynamics(out, picoseconds, console)
    report = _report(metrics, errors, timing, dynamics, training_seconds(configs))
    with replacing(out / "report.html") as page:
        page.write_text(render(report, learning_curves(configs), parity, dynamics["nve"]))
    with replacing(out / "report.json") as file:
        file.write_text(json.dumps(report, indent=2))
    console.print(f"\n{report['summary']}", style="bold")
    console.print(f"Everything is in {out / 'report.html'}")
    return report


def _build_operators(console: Console) -> None:
    """Compile the native operators, which make models several times faster, if that works."""
    # Loading them is tried once in a process: not before they are there.
    if find_library() is not None:
        return
    if not has_compiler():
        console.print("No C++ compiler: models run without the native operators, and slower")
        return
    console.rule("0. Compile the native operators")
    try:
        build_operators()
    except (OSError, RuntimeError, ValueError) as error:
        console.print(f"Models run without the native operators, and slower: {error}")


def configuration(name: str, out: Path, minutes: float, labels: int, threads: int) -> TrainConfig:
    """Return the configuration of one of the two trainings."""
    kinds: dict[str, list[str]] = {HIGH: ["energy", "forces"]}
    method: dict[str, Any] = {"name": METHODS[name]}
    budget = {"minutes": minutes, "validate_every": VALIDATE_EVERY[name]}
    if name == "idle":
        kinds = {LOW: ["energy", "forces"], **kinds}
        method = {**method, "source": LOW, "checkpoint": BASE, "student": {"budget": budget}}
    return parse_config(
        {
            "out": out / "trainings" / name,
            "target": HIGH,
            "labels": kinds,
            "data": {"store": DATA, "budgets": {HIGH: labels}},
            "method": method,
            "backbone": load_checkpoint(BASE)[0].backbone.config.model_dump(),
            "optimizer": {"learning_rate": LEARNING_RATE},
            "budget": budget,
            "threads": threads,
            "compile": name == "idle" and minutes >= WORTH_COMPILING and has_compiler(),
        }
    )


def _export(out: Path, name: str) -> DeployedModel:
    path = out / f"{name}.pt"
    export_checkpoint(RunFolder(out / "trainings" / name).best_checkpoint, HIGH, path)
    return load_model(path)


def _evaluate(
    models: dict[str, DeployedModel], config: TrainConfig
) -> tuple[dict[str, dict[str, Errors]], dict[str, Parity]]:
    store, baseline = load(DATA), TrivialBaseline.fitted(config, LOW)
    errors: dict[str, dict[str, Errors]] = {}
    parity: dict[str, Parity] = {}
    for role in ("test", "ood"):
        part = store.select(np.flatnonzero((store.role == role) & store.has_energy(HIGH)))
        results = {name: errors_of_deployed(model, part) for name, model in models.items()}
        results["low_level_baseline"] = baseline.errors(part)
        errors[role] = {name: result[0] for name, result in results.items()}
        if role == "test":
            parity = {name: result[1] for name, result in results.items()}
    return errors, parity


def _time(models: dict[str, DeployedModel]) -> dict[str, Any]:
    store = load(DATA)
    names = (MOLECULE, "leucinol")
    structures = [store.atoms(int(np.flatnonzero(store.group == name)[0])) for name in names]
    timing = compare_inference(models["idle"], models["single"], structures)
    itself = (timing["a_to_itself"], timing["b_to_itself"])
    return {
        "ratio_median": timing["ratio"]["median"],
        "self_ratio_low": min(ratio["low"] for ratio in itself),
        "self_ratio_high": max(ratio["high"] for ratio in itself),
        **timing,
    }


def _dynamics(out: Path, picoseconds: float, console: Console) -> dict[str, MDResult]:
    store = load(DATA)
    test = np.flatnonzero((store.group == MOLECULE) & (store.role == "test"))
    steps = round(1000.0 * picoseconds / TIMESTEP_FS)
    results: dict[str, MDResult] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for ensemble in ENSEMBLES:
            bar = progress.add_task(f"{MOLECULE} {ensemble.upper()}", total=steps)
            results[ensemble] = run_md(
                out / "idle.pt",
                store.atoms(int(test[0])),
                MDSettings(
                    ensemble=ensemble,
                    temperature_K=TEMPERATURE_K,
                    timestep_fs=TIMESTEP_FS,
                    steps=steps,
                    seed=1,
                    minimize=True,
                    max_stretch=0,
                    trajectory=out / f"{MOLECULE}_{ensemble}.xyz",
                ),
                progress=partial(_advance, progress, bar),
            )
    return results


def _advance(progress: Progress, bar: TaskID, step: int, ns_per_day: float) -> None:
    progress.update(bar, completed=step)


def _report(
    metrics: dict[str, dict[str, Any]],
    errors: dict[str, dict[str, Errors]],
    timing: dict[str, Any],
    dynamics: dict[str, MDResult],
    seconds: dict[str, float],
) -> Report:
    counts = metrics["idle"]["label_counts"]
    nve, nvt = dynamics["nve"], dynamics["nvt"]
    report: Report = {
        "summary": summary(errors["test"], sum(k["energy"] for k in counts[HIGH].values())),
        "method": METHODS["idle"],
        "base": BASE,
        "n_high_labels": sum(kinds["energy"] for kinds in counts[HIGH].values()),
        "n_low_labels": sum(kinds["energy"] for kinds in counts[LOW].values()),
        "label_counts": {name: found["label_counts"] for name, found in metrics.items()},
    }
    for name in ("single", "idle", "low_level_baseline"):
        ood = {"ood": errors["ood"][name]}
        report[name] = {**errors["test"][name], "train_seconds": seconds.get(name, 0.0), **ood}
    report["parity"] = timing
    report["md"] = {
        "engine": nve.settings.engine,
        "backend": nve.settings.backend,
        "platform": nve.settings.platform,
        "molecule": MOLECULE,
        "timestep_fs": TIMESTEP_FS,
        "temperature_K": TEMPERATURE_K,
        "steps": nve.settings.steps,
        "nve_drift_mev_per_atom_per_ps": nve.nve_drift_mev_per_atom_per_ps,
        "ns_per_day": nve.ns_per_day,
        "langevin_steps": nvt.settings.steps,
        "langevin_ns_per_day": nvt.ns_per_day,
    }
    report["versions"] = _versions()
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}"
    return report


def summary(errors: dict[str, Errors], n_labels: int) -> str:
    """Return the outcome in plain words; the first sentence compares with the trivial baseline."""
    idle, single, trivial = (errors[n] for n in ("idle", "single", "low_level_baseline"))
    first = verdict("IDLe", idle, "GFN2-xTB", trivial)
    versus = ratios(idle, single)
    second = (
        f"Against the model trained for the same time on the same {n_labels} high-level labels "
        f"alone, its errors are {versus['energy errors']:.2f} times in energy and "
        f"{versus['force errors']:.2f} times in forces."
    )
    return f"{first} {second}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("idle-md", "torch", "lightning", "openmm", "openmmtorch", "vesin-torch"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
