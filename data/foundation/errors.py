"""Errors of a shipped model on what it never saw, for docs/models.md: by set, element and size.

python data/foundation/errors.py idle-s --store base.h5 --json errors.json
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from idle_md.data import GeometryTensors, Store, fit_reference_energies, load
from idle_md.elements import symbols
from idle_md.nn import Potential, levels, load_checkpoint
from idle_md.train.errors import compare, errors_of_potential
from idle_md.train.prediction import potential_predictor, predict_all

LOW = "gfn2"
SIZES = ((1, 9), (10, 15), (16, 24), (25, 45))  # atoms
Mask = NDArray[np.bool_]


def sets(store: Store) -> dict[str, Mask]:
    """Return the held-out sets: molecules of the role `ood` apart by where they come from."""
    mini = load("chno-mini")
    eight = np.unique(mini.group[mini.role == "ood"])
    ood, of_mini = store.role == "ood", np.isin(store.group, eight)
    has_smiles = store.info["smiles"] != ""  # those of chno
    return {
        "test geometries of chno": store.role == "test",
        "larger molecules of chno-mini": ood & of_mini,
        "larger molecules of chno": ood & has_smiles & ~of_mini,
        "held-out molecules of the foundation": ood & ~has_smiles,
    }


def baseline(store: Store, fidelity: str, part: Store) -> dict[str, Any]:
    """Return the errors of live GFN2-xTB plus reference energies fitted to all training labels."""
    seen = np.flatnonzero((store.role == "train") & store.has_energy(fidelity))
    train = store.select(seen)
    shift = train.labels_of(fidelity).energy - train.labels_of(LOW).energy
    fitted = fit_reference_energies(train.element_counts(store.elements), shift)
    low = part.labels_of(LOW)
    energies = low.energy + part.element_counts(store.elements) @ fitted
    return dict(compare(part, fidelity, energies, low.forces.astype(np.float64))[0])


def by_element(potential: Potential, part: Store, fidelity: str) -> dict[str, float]:
    """Return mean absolute errors of force components in meV/angstrom by element of the atom."""
    tensors = GeometryTensors(part, potential.backbone.cutoff, [fidelity], potential.dtype)
    _, forces, _ = predict_all(potential_predictor(potential, fidelity), tensors)
    errors = np.abs(forces - part.labels_of(fidelity).forces).mean(1)
    return {
        symbols([z])[0]: 1e3 * float(np.nanmean(errors[part.numbers == z])) for z in part.elements
    }


def main() -> None:
    """Parse arguments, evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="checkpoint, or name of a shipped model")
    parser.add_argument("--store", required=True, help="what join.py made")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    store, known = load(options.store), levels(*load_checkpoint(options.model))
    rows: list[dict[str, Any]] = []
    for fidelity, (potential, _) in known.items():
        for name, chosen in sets(store).items():
            part = store.select(np.flatnonzero(chosen & store.has_energy(fidelity)))
            if part.n_geometries == 0:
                continue
            row: dict[str, Any] = {"fidelity": fidelity, "set": name}
            row |= errors_of_potential(potential, part, fidelity)[0]
            row["force_mae_by_element"] = by_element(potential, part, fidelity)
            row["force_mae_by_size"] = {}
            for low, high in SIZES:
                some = part.select(np.flatnonzero((part.n_atoms >= low) & (part.n_atoms <= high)))
                if some.n_geometries:
                    errors = errors_of_potential(potential, some, fidelity)[0]
                    row["force_mae_by_size"][f"{low}-{high}"] = errors["force_mae_mev_per_angstrom"]
            if fidelity != LOW:
                row["trivial_baseline"] = baseline(store, fidelity, part)
            rows.append(row)
    console = Console(width=150)
    console.print(table(rows))
    if options.json is not None:
        about = {"model": options.model, "machine": platform.machine(), "torch": torch.__version__}
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


def table(rows: list[dict[str, Any]]) -> Table:
    """Return errors by fidelity and set."""
    found = Table(title="mean absolute errors: E, relative E (meV), F (meV/angstrom)")
    for heading in ("fidelity", "set", "n", "E", "rel. E", "F", "F by element", "F by size"):
        found.add_column(heading)
    for row in rows:
        for who, errors in (("", row), (" (trivial baseline)", row.get("trivial_baseline"))):
            if errors is None:
                continue
            keys = ("energy_mae_mev", "relative_energy_mae_mev", "force_mae_mev_per_angstrom")
            shown = [f"{errors[key]:.1f}" for key in keys]
            split = [
                " ".join(f"{name} {value:.0f}" for name, value in errors.get(kind, {}).items())
                for kind in ("force_mae_by_element", "force_mae_by_size")
            ]
            n = str(errors["n_energies"])
            found.add_row(row["fidelity"], row["set"] + who, n, *shown, *split)
    return found


if __name__ == "__main__":
    main()
