"""Coupled cluster by a chain of levels, against the cheap level directly: errors of energies.

GFN2-xTB -> wB97X/6-31G* (energies and forces) -> CCSD(T)/cc-pVDZ (energies), and GFN2-xTB ->
CCSD(T) with the same energies, on the held-out geometries of chno-mini that have them. Finished
runs are kept, so an interrupted comparison goes on where it was.

    python benchmarks/chain.py runs/low/best.ckpt --store chno.h5 --out runs/benchmarks/chain
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from idle_md.run_folder import RunFolder
from idle_md.train import adapt_config
from idle_md.train.errors import errors_of_file
from idle_md.train.run import train_unless_finished

JUDGED = "chno-mini"
MIDDLE, HIGH = "wb97x", "ccsdt"


def adapted(
    model: Path, base: str, fidelity: str, labels: int, seed: int, arguments: argparse.Namespace
) -> RunFolder:
    """Return the run of an adaptation, trained unless that is done."""
    out = arguments.out / f"{base}-{fidelity}-{labels}-{seed}"
    config = adapt_config(model, arguments.store, fidelity, out, base, labels, seed)
    return train_unless_finished(config.model_copy(update={"threads": 1}), Console())


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint of the low level")
    parser.add_argument("--store", default=JUDGED, help="what is trained on")
    parser.add_argument("--middle", type=int, default=144, help="labels of the middle level")
    parser.add_argument("--labels", type=int, default=48, help="of the high one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/chain"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        middle = adapted(arguments.model, "gfn2", MIDDLE, arguments.middle, seed, arguments)
        for way, model, base in (
            ("directly", arguments.model, "gfn2"),
            ("by the chain", middle.best_checkpoint, MIDDLE),
        ):
            run = adapted(model, base, HIGH, arguments.labels, seed, arguments)
            errors = errors_of_file(run.best_checkpoint, JUDGED)["test"][HIGH]
            rows.append({"way": way, "seed": seed, **errors})
        for way in ("directly", "by the chain"):
            found = [r["relative_energy_mae_mev"] for r in rows if r["way"] == way]
            print(f"{way}: relative energies {np.mean(found):.1f} meV, {len(found)} draws")
        about = {"machine": platform.machine(), "torch": torch.__version__}
        content = json.dumps({**about, "rows": rows}, indent=1)
        (arguments.out / "chain.json").write_text(content)


if __name__ == "__main__":
    main()
