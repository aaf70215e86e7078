"""Coupled cluster by a chain of levels, against the cheap level directly: errors of energies.

GFN2-xTB -> wB97X/6-31G* (energies and forces) -> CCSD(T)/cc-pVDZ (energies), and GFN2-xTB ->
CCSD(T) with the same energies, on the held-out geometries of chno-mini that have them. What has a
label of CCSD(T) has one of wB97X, as when the dearest labels are calculated for some geometries of
those that the middle level knows. Finished runs are kept, so an interrupted comparison goes on
where it was.

    python benchmarks/chain.py benchmarks/results/base.ckpt --store chno.h5
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from idle_md.data import Store, draw_labels, load
from idle_md.data.sources import save
from idle_md.run_folder import RunFolder
from idle_md.train import adapt_config
from idle_md.train.batches import Indices
from idle_md.train.errors import errors_of_file
from idle_md.train.run import train_unless_finished

JUDGED = "chno-mini"
LOW, MIDDLE, HIGH = "gfn2", "wb97x", "ccsdt"


def with_labels(store: Store, middle: int, high: int, draw: int) -> Store:
    """Return a store with so many labels of the two higher levels, one set within the other."""
    pool = np.flatnonzero(~np.isin(store.role, ["test", "ood"]) & store.has_forces(MIDDLE))
    dearest = draw_labels(store, pool, HIGH, high, draw)
    rest = np.setdiff1d(pool, dearest)
    between = np.union1d(dearest, draw_labels(store, rest, MIDDLE, middle - high, draw))
    only(store, MIDDLE, between)
    only(store, HIGH, dearest)
    return store


def only(store: Store, fidelity: str, kept: Indices) -> None:
    """Take the labels of a level from all other geometries."""
    labels, gone = store.labels_of(fidelity), np.ones(store.n_geometries, bool)
    gone[kept] = False
    labels.energy[gone] = np.nan
    labels.forces[np.repeat(gone, store.n_atoms)] = np.nan


def adapted(
    model: Path, store: Path, target: str, base: str, draw: int, arguments: argparse.Namespace
) -> RunFolder:
    """Train, unless that is done."""
    out = arguments.out / f"{base}-{target}-{draw}"
    config = adapt_config(model, str(store), target, out, base, None, draw)
    return train_unless_finished(config.model_copy(update={"threads": 1}), Console())


def main() -> None:
    """Parse arguments, train what is missing, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint of the low level")
    parser.add_argument("--store", default=JUDGED, help="what is trained on")
    parser.add_argument("--middle", type=int, default=144, help="labels of the middle level")
    parser.add_argument("--labels", type=int, default=48, help="of the high level")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/chain"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for draw in range(arguments.draws):
        store = arguments.out / f"labels-{draw}.h5"
        if not store.exists():
            known = load(arguments.store)
            save(with_labels(known, arguments.middle, arguments.labels, draw), store)
        middle = adapted(arguments.model, store, MIDDLE, LOW, draw, arguments)
        ways = {
            "directly": (arguments.model, LOW),
            "by the chain": (middle.best_checkpoint, MIDDLE),
        }
        for way, (model, base) in ways.items():
            run = adapted(model, store, HIGH, base, draw, arguments)
            errors = errors_of_file(run.best_checkpoint, JUDGED, roles=["test"])["test"][HIGH]
            rows.append({"way": way, "draw": draw, **errors})
        for way in ways:
            found = [row["relative_energy_mae_mev"] for row in rows if row["way"] == way]
            print(f"{way}: relative energies {np.mean(found):.1f} meV, {len(found)} draws")
        about = {"machine": platform.machine(), "torch": torch.__version__}
        about |= {"middle": arguments.middle, "labels": arguments.labels}
        (arguments.out / "chain.json").write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
