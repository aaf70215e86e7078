"""Curves of the closed form of `adapt` itself, without a student: labels, choice of labels, cost.

For each way of choosing labelled geometries (at random, at random but evenly over the molecules, or
by the variance that is left) and each number of them: errors on the frozen held-out geometries of
chno-mini, on the model's own low level and on that level live, seconds and memory. With --held-out,
also on geometries drawn from those that could be chosen, which are then not among them: of the same
molecules and as hot, while the frozen test geometries are of half of the molecules.

    python benchmarks/closed_form.py runs/low/best.ckpt --labels 12 24 36 54 72 108 144
"""

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idle_md.data import Store, draw_labels, load
from idle_md.nn import Potential, load_checkpoint
from idle_md.train import LeastVariance
from idle_md.train.batches import Indices
from idle_md.train.closed_form.correction import fit_correction
from idle_md.train.closed_form.differences import Differences
from idle_md.train.closed_form.teacher import known_level, teacher_labels
from idle_md.train.errors import compare

DATA = "chno-mini"
JUDGED = ("test", "ood", "pool")  # the last: held out of what could be chosen


@dataclass(frozen=True)
class Levels:
    """The level that is learned, which of its labels, and the level that they are compared with."""

    high: str
    low: str
    forces: bool


def differences(store: Store, base: Potential, chosen: Indices, levels: Levels) -> Differences:
    """Return labels of the high level less those of the low one at chosen geometries."""
    part = store.select(chosen)
    known, high = known_level(part, base, part.labels_of(levels.low)), part.labels_of(levels.high)
    difference = high.forces - known.forces
    zeros = np.zeros(part.n_geometries)
    shown = difference if levels.forces else np.full_like(difference, np.nan)
    return Differences(part, high.energy - known.energies, shown, zeros, zeros)


def chooser(
    store: Store, pool: Indices, choice: str, most: int, seed: int, model: Path, high: str
) -> Callable[[int], Indices]:
    """Return the function that gives any number of chosen geometries."""
    if choice == "evenly":
        return lambda labels: draw_labels(store, pool, high, labels, seed)
    if choice == "random":
        order = np.random.default_rng(seed).permutation(pool)
    else:
        order = LeastVariance([model], seed).choose(store, pool, most, np.empty(0, np.int64))
    return lambda labels: np.sort(order[:labels])


def fitted(store: Store, base: Potential, chosen: Indices, levels: Levels) -> dict[str, Any]:
    """Return errors, seconds and peak memory of one fit."""
    begun = time.process_time()
    posterior = fit_correction(base, differences(store, base, chosen, levels))
    seconds, correction = time.process_time() - begun, posterior.correction()
    found: dict[str, Any] = {"labels": len(chosen), "cpu_seconds": seconds}
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["rows"] = sum(len(one) for one in posterior.observed)
    for role in (role for role in JUDGED if role in store.role):
        part = store.select(np.flatnonzero((store.role == role) & store.has_energy(levels.high)))
        if part.n_geometries == 0:
            continue
        own = {"model": None} if levels.low == base.fidelities[0] else {}
        for name, shown in {**own, "live": part.labels_of(levels.low)}.items():
            known = known_level(part, base, shown)
            energies, made = teacher_labels(known, correction, base.backbone.cutoff)
            found[f"{role}, {name}"] = compare(part, levels.high, energies, made)[0]
    return found


def main() -> None:
    """Parse arguments, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="checkpoint of the low level")
    parser.add_argument("--labels", type=int, nargs="+", default=[12, 24, 36, 54, 72, 108, 144])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choices", nargs="+", default=["random", "evenly", "variance"])
    parser.add_argument("--energies", action="store_true", help="use no forces of the high level")
    parser.add_argument("--high", default="wb97x", help="the level that is learned")
    parser.add_argument("--low", help="the one that it is compared with; default: the model's")
    parser.add_argument(
        "--held-out", type=int, default=0, help="geometries of the pool to judge by"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    store, (potential, about) = load(DATA), load_checkpoint(arguments.model)
    base = potential.alone(about["target"])
    low = arguments.low or base.fidelities[0]
    levels = Levels(arguments.high, low, not arguments.energies)
    pool = np.flatnonzero(~np.isin(store.role, ["test", "ood"]) & store.has_energy(levels.high))
    rows = []
    for seed in arguments.seeds:
        held_out = np.random.default_rng(seed).permutation(pool)[: arguments.held_out]
        store.role = load(DATA).role
        store.role[held_out] = "pool"
        left = np.setdiff1d(pool, held_out)
        for choice in arguments.choices:
            most = max(arguments.labels)
            chosen = chooser(store, left, choice, most, seed, arguments.model, levels.high)
            for labels in arguments.labels:
                row = fitted(store, base, chosen(labels), levels)
                rows.append({"choice": choice, "seed": seed, **row})
                errors = row["test, live"]
                of_forces = errors["force_mae_mev_per_angstrom"] or np.nan
                print(
                    f"{choice:8s} seed {seed} {labels:4d} labels: "
                    f"relative {errors['relative_energy_mae_mev']:.1f} meV, "
                    f"forces {of_forces:.1f} meV/A (live, test), "
                    f"{row['cpu_seconds']:.0f} s",
                    flush=True,
                )
                if arguments.json:
                    machine = {"machine": platform.machine(), "torch": torch.__version__}
                    arguments.json.write_text(json.dumps({**machine, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
