"""Errors by number of expensive labels, of every method: run what is missing.

    idle-md data join chno-mini data/chno/*.h5 -o chno.h5
    python benchmarks/data_efficiency/run.py --store chno.h5

A job is one method with one number and draw of labels. Finished jobs and trainings that were begun
are kept in ``--out``, so a comparison that was interrupted goes on where it was, and several of
these commands may share the folder as long as they run different methods or seeds. What is among
the committed results is not run again in a new folder, unless it is asked for by ``--fresh``.
Methods that have a learning rate to be tuned are trained with three, and the best by validation
counts.
``report.py`` makes curves of what there is.
"""

import argparse
import json
import multiprocessing
import shutil
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from experiments import EXPERIMENTS, JUDGED, LOW, ROLES, STEPS, TRIVIAL, Job, Place, jobs

from idle_md.data import load
from idle_md.files import replacing
from idle_md.nn import load_checkpoint
from idle_md.report.baseline import TrivialBaseline
from idle_md.run_folder import RunFolder
from idle_md.train.errors import errors_of_file
from idle_md.train.run import train_unless_finished

RESULTS = Path(__file__).resolve().parents[1] / "results"


def trained(job: Job, place: Place) -> dict[str, Any]:
    """Train what is not finished, and return the errors of the best by validation."""
    configurations = job.configurations(place)
    if job.method == "idle_finetune":
        share_joint_training(replace(job, method="idle"), configurations[0].out, place)
    found = [train_unless_finished(config, None) for config in configurations]
    scores = [load_checkpoint(run.best_checkpoint)[1]["validation"]["score"] for run in found]
    best, metrics = int(np.argmin(scores)), [run.read_metrics() for run in found]
    errors = errors_of_file(found[best].best_checkpoint, JUDGED, roles=ROLES)
    high = EXPERIMENTS[job.experiment].high
    row = {role: errors[role][high] for role in ROLES if high in errors.get(role, {})}
    row |= {key: metrics[best][key] for key in ("uncertainty",) if key in metrics[best]}
    return {**row, "minutes": sum(each["train_seconds"] for each in metrics) / 60}


def share_joint_training(done: Job, out: Path, place: Place) -> None:
    """Give a joint training that is finished to the one that goes on with it."""
    run = RunFolder(done.configurations(place)[0].out)
    if run.is_finished and not out.exists():
        shutil.copytree(run.path, RunFolder(out).pretraining.path)


def trivial(job: Job, place: Place) -> dict[str, Any]:
    """Return the errors of the low level plus reference energies fitted to the same labels."""
    configuration = Job(job.experiment, "idle", job.budget, job.seed).configurations(place)[0]
    fitted, store = TrivialBaseline.fitted(configuration, LOW), load(JUDGED)
    has_label = store.has_energy(EXPERIMENTS[job.experiment].high)
    parts = {role: np.flatnonzero((store.role == role) & has_label) for role in ROLES}
    return {role: fitted.errors(store.select(part))[0] for role, part in parts.items() if len(part)}


def unpack(results: Path, place: Place) -> None:
    """Write what is known already to the folder of rows."""
    for row in json.loads(results.read_text())["rows"] if results.exists() else []:
        job = Job(row["experiment"], row["method"], row["budget"], row["seed"])
        place.row(job).write_text(json.dumps(row, indent=1))


def finished(job: Job, place: Place) -> str:
    """Do a job unless it is done; return what to say of it."""
    file = place.row(job)
    if not file.exists():
        found = trivial(job, place) if job.method == TRIVIAL else trained(job, place)
        row = {**vars(job), **found}
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(row, indent=1))
    test = json.loads(file.read_text())["test"]
    keys = ("energy_mae_mev", "relative_energy_mae_mev", "force_mae_mev_per_angstrom")
    return f"{job.name}: " + " / ".join(f"{test[key] or np.nan:.1f}" for key in keys)


def main() -> None:
    """Parse arguments, run, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", choices=EXPERIMENTS, nargs="+", default=list(EXPERIMENTS))
    methods = [TRIVIAL, *STEPS]
    parser.add_argument("--methods", choices=methods, nargs="+", default=methods)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most", type=int, default=10_000, help="largest number of labels")
    parser.add_argument("--store", default=JUDGED, help="what is trained on")
    parser.add_argument(
        "--base", type=Path, default=RESULTS / "base.ckpt", help="model of the low level"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fresh", action="store_true", help="take nothing from what is committed")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/data_efficiency"))
    arguments = parser.parse_args()
    place = Place(arguments.out, arguments.store, arguments.base)
    known = RESULTS / "data_efficiency.json"
    if not place.rows.exists():
        place.rows.mkdir(parents=True)
        if not arguments.fresh:
            unpack(known, place)
    asked = jobs(arguments.experiments, arguments.methods, arguments.seeds, arguments.most)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, spawn) as pool:
        running = {pool.submit(finished, job, place): job for job in asked}
        for future in as_completed(running):
            try:
                print(future.result(), flush=True)
            except Exception:  # the others go on
                print(f"{running[future].name} failed", flush=True)
                traceback.print_exc()


if __name__ == "__main__":
    main()
