"""How far training gets with each optimiser, at several rates, in the same number of steps.

PaiNN 64x2 on GFN2-xTB energies and forces; errors are those of validation geometries at the end of
a cosine schedule. Finished trainings are kept, so a comparison that was interrupted goes on.

    idle-md data join chno-mini data/chno/*.h5 -o chno.h5
    python benchmarks/optimizers.py --store chno.h5 --json optimizers.json
"""

import argparse
import json
import platform
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from idle_md.run_folder import RunFolder
from idle_md.train import load_config
from idle_md.train.fit.callbacks import read_log
from idle_md.train.run import train_unless_finished

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "methods" / "single.yaml"
LOW = "gfn2"
RATES = {"adamw": [4e-3, 8e-3, 1.6e-2], "muon": [4e-3, 8e-3, 1.6e-2]}


def trained(algorithm: str, rate: float, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train, unless that is done, and return errors and seconds."""
    values: dict[str, Any] = {
        "out": str(options.out / f"{algorithm}-{rate:g}-{steps}"),
        "labels": {LOW: ["energy", "forces"]},
        "target": LOW,
        "data": {"store": options.store, "split": {"validation": options.validation}},
        "budget": {"steps": steps, "validate_every": min(steps, 500)},
        "optimizer": {"algorithm": algorithm, "learning_rate": rate},
        "compile": True,
        "threads": 1,
    }
    config = load_config(EXAMPLE, [f"{key}={json.dumps(value)}" for key, value in values.items()])
    run = train_unless_finished(config, Console())
    row, seconds = read_log(RunFolder(run.path).log_file)[-1], run.read_metrics()["train_seconds"]
    return {
        "algorithm": algorithm,
        "learning_rate": rate,
        "steps": steps,
        "seconds": seconds,
        "energy_mae_mev": row[f"{LOW}_energy_mae_mev"],
        "force_mae_mev_per_angstrom": row[f"{LOW}_force_mae_mev_per_angstrom"],
    }


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--algorithms", choices=RATES, nargs="+", default=list(RATES))
    parser.add_argument("--store", default="chno-mini", help="what is trained on")
    parser.add_argument("--validation", type=float, default=0.005, help="share of the store")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/optimizers"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [
        (algorithm, rate, steps)
        for steps, algorithm in product(options.steps, options.algorithms)
        for rate in RATES[algorithm]
    ]
    rows = [trained(*case, options) for case in cases]
    table = Table(title=f"PaiNN 64x2, {LOW} of {options.store}: validation errors")
    for heading in ("steps", "optimiser", "rate", "E, meV", "F, meV/Å", "s"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        errors = (row["energy_mae_mev"], row["force_mae_mev_per_angstrom"], row["seconds"])
        shown = [f"{value:.1f}" for value in errors]
        table.add_row(str(row["steps"]), row["algorithm"], f"{row['learning_rate']:g}", *shown)
    Console(width=100).print(table)
    if options.json is not None:
        about = {"machine": platform.machine(), "torch": torch.__version__}
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
