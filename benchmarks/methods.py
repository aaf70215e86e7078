"""Compare all methods on chno-mini: errors at the high level by number of high-level labels.

Runs every configuration of examples/methods at each label budget with each seed (of the draw of
labels, the weights and the order of batches) and prints mean and standard deviation over seeds.
Finished runs are kept, so an interrupted comparison goes on where it was. What methods share is
trained once: the low-level model that transfer and adapt start from (seed 0), and the joint
training that idle_finetune goes on with, which is that of idle.

    python benchmarks/methods.py --labels 36 144 --seeds 0 1 2 --out runs/benchmarks/methods
"""

import argparse
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from idle_md.data import load
from idle_md.report.baseline import TrivialBaseline
from idle_md.train import TrainConfig, load_config
from idle_md.train.run import train_unless_finished

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "methods"
METRICS = {
    "energy_mae_mev": "E, meV",
    "relative_energy_mae_mev": "relative E, meV",
    "force_mae_mev_per_angstrom": "F, meV/Å",
}
STEPS_DECIDE = "budget.minutes=null"  # so the machine's speed and load do not
HIGH, LOW = "wb97x", "gfn2"


def configuration(name: str, labels: int, seed: int, arguments: argparse.Namespace) -> TrainConfig:
    """Return an example's configuration at one budget and seed."""
    out = arguments.out / f"{name}-{labels}-{seed}"
    changes = [f"out={out}", f"data.budgets.{HIGH}={labels}", f"seed={seed}", STEPS_DECIDE]
    changes += [f"data.split.seed={seed}", f"threads={arguments.threads}"]
    if name in ("transfer", "adapt"):
        changes.append(f"method.checkpoint={low_level_model(arguments)}")
    config = load_config(EXAMPLES / f"{name}.yaml", changes)
    if name == "idle_finetune":
        share_joint_training(config, arguments.out / f"idle-{labels}-{seed}")
    return config


def low_level_model(arguments: argparse.Namespace) -> Path:
    """Return a model of the low level alone, trained unless that is done."""
    changes = [f"out={arguments.out / 'transfer'}", f"threads={arguments.threads}", STEPS_DECIDE]
    config = load_config(EXAMPLES / "transfer.yaml", changes)
    stage = config.method.pretraining(config)
    assert stage is not None
    return train_unless_finished(stage, Console()).best_checkpoint


def share_joint_training(config: TrainConfig, done: Path) -> None:
    """Give a joint training that is finished to the one that goes on with it."""
    if (done / "metrics.json").is_file() and not config.out.exists():
        shutil.copytree(done, config.out / "pretrain")


def errors_of(config: TrainConfig, console: Console) -> dict[str, Any]:
    """Train, unless that is done, and return the errors on the test geometries."""
    found: dict[str, Any] = train_unless_finished(config, console).read_metrics()["test"][HIGH]
    return found


def baseline_of(config: TrainConfig) -> dict[str, Any]:
    """Return the errors of the low level plus fitted reference energies."""
    store = load(config.data.store)
    test = store.select(np.flatnonzero((store.role == "test") & store.has_energy(HIGH)))
    return dict(TrivialBaseline.fitted(config, LOW).errors(test)[0])


def print_table(rows: dict[str, dict[int, list[dict[str, Any]]]], console: Console) -> None:
    """Print mean and standard deviation over seeds."""
    table = Table(title=f"chno-mini, {HIGH}, held-out geometries: mean absolute errors")
    table.add_column("method")
    table.add_column("labels", justify="right")
    for heading in METRICS.values():
        table.add_column(heading, justify="right")
    for name, by_labels in rows.items():
        for labels, found in by_labels.items():
            columns = [[one[key] for one in found] for key in METRICS]
            cells = [f"{np.mean(c):.1f} ± {np.std(c, ddof=len(c) > 1):.1f}" for c in columns]
            table.add_row(name, str(labels), *cells)
    console.print(table)


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, nargs="+", default=[36, 144])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=sorted(p.stem for p in EXAMPLES.glob("*")))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/methods"))
    arguments = parser.parse_args()
    console = Console()
    rows: dict[str, dict[int, list[dict[str, Any]]]] = {"trivial baseline": {}}
    for labels in arguments.labels:
        for seed in arguments.seeds:
            joint = configuration("idle", labels, seed, arguments)
            rows["trivial baseline"].setdefault(labels, []).append(baseline_of(joint))
            for name in arguments.methods:
                config = configuration(name, labels, seed, arguments)
                found = errors_of(config, console)
                rows.setdefault(name, {}).setdefault(labels, []).append(found)
    print_table(rows, console)
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": arguments.threads}
    result = {**machine, "seeds": arguments.seeds, "rows": rows}
    (arguments.out / "methods.json").write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
