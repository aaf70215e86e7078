"""Coupled cluster by a chain of levels, against the cheap level directly: errors of energies.

GFN2-xTB -> wB97X/6-31G* -> CCSD(T)/cc-pVDZ (energies), and GFN2-xTB -> CCSD(T) with the same
energies, on the held-out geometries of chno-mini that have them. Each model of the middle level is
one draw: it brings the low one along, which it was adapted from, and no more of its level's labels
are used than it was made with. Finished runs are kept, so an interrupted comparison goes on where
it was.

    python benchmarks/chain.py runs/wb97x/*/best.ckpt --store chno.h5 --out runs/benchmarks/chain
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from idle_md.train import adapt_config
from idle_md.train.errors import errors_of_file
from idle_md.train.run import train_unless_finished

JUDGED = "chno-mini"
LOW, MIDDLE, HIGH = "gfn2", "wb97x", "ccsdt"
WAYS = {"directly": LOW, "by the chain": MIDDLE}


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+", help="checkpoints of the middle level")
    parser.add_argument("--store", default=JUDGED, help="what is trained on")
    parser.add_argument("--labels", type=int, default=48, help="of the high level")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/chain"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for draw, model in enumerate(arguments.models):
        for way, base in WAYS.items():
            out, labels = arguments.out / f"{base}-{HIGH}-{draw}", arguments.labels
            config = adapt_config(model, arguments.store, HIGH, out, base, labels, draw)
            shown = {level: kinds for level, kinds in config.labels.items() if level != MIDDLE}
            config = config.model_copy(update={"threads": 1, "labels": shown})
            run = train_unless_finished(config, Console())
            errors = errors_of_file(run.best_checkpoint, JUDGED, roles=["test"])["test"][HIGH]
            rows.append({"way": way, "draw": draw, **errors})
        for way in WAYS:
            found = [row["relative_energy_mae_mev"] for row in rows if row["way"] == way]
            print(f"{way}: relative energies {np.mean(found):.1f} meV, {len(found)} draws")
        about = {"machine": platform.machine(), "torch": torch.__version__}
        content = json.dumps({**about, "labels": arguments.labels, "rows": rows}, indent=1)
        (arguments.out / "chain.json").write_text(content)


if __name__ == "__main__":
    main()
