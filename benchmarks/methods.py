"""Compare all methods: errors at the high level by number and kind of high-level labels.

Runs the configurations of examples/methods at each number of labelled geometries, with energies
alone and with energies and forces, and with each seed (of the draw of labels, the weights and the
order of batches), and prints means and standard deviations over seeds on the frozen held-out
geometries of chno-mini. Finished runs and their errors are kept, so a comparison that was
interrupted, or had fewer cases, goes on where it was.
The low-level model that transfer and adapt start from is trained once, and so is the joint training
that idle_finetune goes on with, which is that of idle. Transfer is tried at several rates, and the
one with the smallest validation error counts.

    idle-md data join chno-mini data/chno/*.h5 -o chno.h5
    python benchmarks/methods.py --store chno.h5 --out runs/benchmarks/methods
"""

import argparse
import json
import os
import platform
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table

from idle_md.data import load
from idle_md.files import replacing
from idle_md.nn import load_checkpoint
from idle_md.report.baseline import TrivialBaseline
from idle_md.train import TrainConfig, load_config
from idle_md.train.errors import errors_of_file
from idle_md.train.run import train_unless_finished

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "methods"
METRICS = {
    "energy_mae_mev": "E",
    "relative_energy_mae_mev": "relative E",
    "force_mae_mev_per_angstrom": "F",
}
HIGH, LOW = "wb97x", "gfn2"
JUDGED, ROLES = "chno-mini", ("test", "ood")
KINDS = {"energies": ["energy"], "energies and forces": ["energy", "forces"]}
BASELINE = "trivial baseline"
RATES = (2e-4, 5e-4, 1.5e-3)  # of transfer
STEPS = {  # in place of minutes, so that the machine's speed and load do not decide
    "adapt": {"budget": {"steps": 20_000}, "method.student.budget": {"steps": 4000}},
    "idle": {"budget": {"steps": 10_000}},
    "idle_finetune": {"budget": {"steps": 10_000}},
    "delta": {"budget": {"steps": 3000, "early_stopping": 10}},
    "single": {"budget": {"steps": 3000, "early_stopping": 10}},
    "transfer": {"budget": {"steps": 20_000}},
}
Row = dict[str, Any]


def configuration(
    name: str, kind: str, labels: int, seed: int, arguments: argparse.Namespace, **more: Any
) -> TrainConfig:
    """Return an example's configuration with one number and kind of labels and one seed."""
    suffix = "-".join(str(value) for value in more.values())
    out = arguments.out / f"{name}-{kind.replace(' ', '-')}-{labels}-{seed}{suffix and '-'}{suffix}"
    given = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    kinds = {f: KINDS[kind] if f == HIGH else both for f, both in given["labels"].items()}
    values: dict[str, Any] = {
        "out": str(out),
        "labels": kinds,
        "data": {
            "store": arguments.store,
            "split": {"seed": seed, "validation": arguments.validation},
            "budgets": {HIGH: labels},
        },
        "seed": seed,
        "threads": arguments.threads,
        **STEPS[name],
        **more,
    }
    if name in ("transfer", "adapt"):
        values["method.checkpoint"] = str(base_model(arguments))
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    config = load_config(EXAMPLES / f"{name}.yaml", changes)
    if name == "idle_finetune":
        share_joint_training(config, Path(str(out).replace("idle_finetune", "idle", 1)))
    return config


def base_model(arguments: argparse.Namespace) -> Path:
    """Return a model of the low level alone, trained unless that is done."""
    if arguments.base is not None:
        given: Path = arguments.base
        return given
    values: dict[str, Any] = {
        "out": str(arguments.out / "base"),
        "labels": {LOW: ["energy", "forces"]},
        "target": LOW,
        "method": "single",
        "data": {"store": arguments.store, "split": {"validation": arguments.validation}},
        "budget": {"steps": 20_000, "validate_every": 1000},
        "optimizer": {"learning_rate": 8e-3},
        "compile": True,
        "threads": arguments.threads,
    }
    changes = [f"{key}={json.dumps(value)}" for key, value in values.items()]
    config = load_config(EXAMPLES / "single.yaml", changes)
    return train_unless_finished(config, Console()).best_checkpoint


def share_joint_training(config: TrainConfig, done: Path) -> None:
    """Give a joint training that is finished to the one that goes on with it."""
    if (done / "metrics.json").is_file() and not config.out.exists():
        shutil.copytree(done, config.out / "pretrain")


def trained(
    name: str, kind: str, labels: int, seed: int, arguments: argparse.Namespace, console: Console
) -> Row:
    """Train, unless that is done, and return errors, minutes and what else there is to say."""
    rates = RATES if name == "transfer" else (None,)
    found = []
    for rate in rates:
        more = {} if rate is None else {"method.finetune.learning_rate": rate}
        config = configuration(name, kind, labels, seed, arguments, **more)
        console.print(f"{config.out}", highlight=False)
        found.append(train_unless_finished(config, console))
    scores = [load_checkpoint(folder.best_checkpoint)[1]["validation"]["score"] for folder in found]
    best = found[int(np.argmin(scores))]
    errors = errors_of_file(best.best_checkpoint, JUDGED, roles=ROLES)
    row, metrics = {role: errors[role][HIGH] for role in ROLES}, best.read_metrics()
    row |= {key: metrics[key] for key in ("closed_form", "uncertainty") if key in metrics}
    return {**row, "minutes": metrics["train_seconds"] / 60}


def baseline(kind: str, labels: int, seed: int, arguments: argparse.Namespace) -> Row:
    """Return the errors of the low level plus reference energies fitted to the same labels."""
    fitted = TrivialBaseline.fitted(configuration("idle", kind, labels, seed, arguments), LOW)
    store = load(JUDGED)
    parts = {
        role: store.select(np.flatnonzero((store.role == role) & store.has_energy(HIGH)))
        for role in ROLES
    }
    return {**{role: fitted.errors(part)[0] for role, part in parts.items()}, "minutes": 0.0}


def print_table(rows: list[Row], console: Console) -> None:
    """Print means and standard deviations over seeds."""
    table = Table(title=f"{HIGH}, held-out geometries of {JUDGED}: meV and meV/angstrom")
    for heading in ("labels", "method", "test", "ood", "minutes"):
        table.add_column(heading, no_wrap=True)
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["kind"], row["labels"])):
        groups.setdefault((row["kind"], row["labels"], row["method"]), []).append(row)
    for (kind, labels, method), some in groups.items():
        cells = []
        for role in ROLES:
            columns = [[row[role][key] for row in some] for key in METRICS]
            spread = [(np.mean(c), np.std(c, ddof=len(c) > 1)) for c in columns]
            cells.append(" / ".join(f"{mean:.1f} ± {width:.1f}" for mean, width in spread))
        known = [row["minutes"] for row in some if row["minutes"] is not None]  # not paused
        minutes = f"{np.mean(known):.1f}" if known else ""
        table.add_row(f"{labels} {kind}", method, *cells, minutes)
    console.print(table)


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[36, 72, 144])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--methods", choices=STEPS, nargs="+", default=list(STEPS))
    parser.add_argument("--store", default=JUDGED, help="what is trained on")
    parser.add_argument("--validation", type=float, default=0.005, help="share of the store")
    parser.add_argument("--base", type=Path, help="low-level model to start from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/methods"))
    arguments = parser.parse_args()
    console, file = Console(width=150), arguments.out / "methods.json"
    machine: dict[str, Any] = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": arguments.threads,
    }
    machine["torch"] = torch.__version__
    rows = json.loads(file.read_text())["rows"] if file.is_file() else []
    done = {(row["kind"], row["labels"], row["seed"], row["method"]) for row in rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for case in product(
        arguments.seeds, arguments.labels, arguments.kinds, [BASELINE, *arguments.methods]
    ):
        seed, labels, kind, method = case
        if (kind, labels, seed, method) in done:
            continue
        if method == BASELINE:
            found = baseline(kind, labels, seed, arguments)
        else:
            found = trained(method, kind, labels, seed, arguments, console)
        rows.append({"kind": kind, "labels": labels, "seed": seed, "method": method, **found})
        print_table(rows, console)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps({**machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
