"""How labelling scales with the number of worker processes.

Labels displaced hexane molecules (20 atoms) with GFN2-xTB in rounds that alternate between the
numbers of workers. Throughput counts from the first finished task, so the start of the processes,
which is shown apart, is not in it.

    python benchmarks/labelling.py --geometries 3000 --jobs 1 2 --json labelling.json
"""

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from idle_md.data import from_atoms
from idle_md.label.labelling import label
from idle_md.label.sampling.conformers import embed, with_hydrogens

SMILES = "CCCCCC"
LEVEL = "gfn2"
DISPLACEMENT = 0.05  # angstrom


def write_store(path: Path, n: int, seed: int) -> None:
    """Write displaced copies of one conformer."""
    start = embed(with_hydrogens(SMILES), 1, 0)[0]
    rng = np.random.default_rng(seed)
    images = [start.copy() for _ in range(n)]
    for atoms in images:
        atoms.positions += DISPLACEMENT * rng.standard_normal(atoms.positions.shape)
    from_atoms(images, [SMILES] * n).write(path)


def one_run(folder: Path, jobs: int, n: int, seed: int) -> dict[str, float]:
    """Label a new store and return labels per second and the seconds before the first."""
    path = folder / f"{jobs}-{seed}.h5"
    write_store(path, n, seed)
    reached: list[tuple[float, int]] = []
    begun = time.perf_counter()
    report = label(
        path,
        LEVEL,
        jobs=jobs,
        progress=lambda done, failed, total: reached.append((time.perf_counter(), done)),
    )
    if report.labelled != n:
        raise RuntimeError(f"{report.failed} of {n} labels failed: {dict(report.reasons)}")
    (first, before), (last, after) = reached[0], reached[-1]
    return {
        "labels_per_second": (after - before) / (last - first),
        "start_seconds": first - begun,
        "cpu_seconds_per_label": report.cpu_seconds / n,
    }


def main() -> None:
    """Parse arguments, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--geometries", type=int, default=3000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs: dict[int, list[dict[str, float]]] = {jobs: [] for jobs in arguments.jobs}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.rounds):
            for jobs, found in runs.items():
                found.append(one_run(Path(folder), jobs, arguments.geometries, seed))
    rows: list[dict[str, Any]] = [
        {"jobs": jobs, **{key: float(np.median([one[key] for one in found])) for key in found[0]}}
        for jobs, found in runs.items()
    ]
    for row in rows:
        row["ratio"] = row["labels_per_second"] / rows[0]["labels_per_second"]
    print_table(rows, arguments)
    if arguments.json:
        about = {"machine": platform.machine(), "cpus": os.cpu_count(), "tblite": version("tblite")}
        result = {**about, "geometries": arguments.geometries, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2))


def print_table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print medians over the rounds."""
    table = Table(title=f"{LEVEL} labels of {SMILES}, 20 atoms, {arguments.geometries} a round")
    for heading in ("workers", "labels/s", "ratio", "CPU ms/label", "start, s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            str(row["jobs"]),
            f"{row['labels_per_second']:.1f}",
            f"{row['ratio']:.2f}",
            f"{1e3 * row['cpu_seconds_per_label']:.2f}",
            f"{row['start_seconds']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
