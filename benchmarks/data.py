"""A store larger than memory: writing, opening, reading and random batches, and the memory used.

    python benchmarks/data.py [--geometries 1000000] [--json data.json]

Writes made-up molecules at two levels of theory, the high one at a tenth of the geometries, with
``StoreWriter``; opens and reads the file with ``StoreFile``; takes an epoch of ``StreamedBatches``,
with neighbour lists, from the loader processes of a ``DataLoader``. Every phase is a process of its
own, so none carries the peak of another. Peaks are of resident memory, with all that is imported
and, for loaders, what they share with the process that started them. Random digits compress less
well than molecular dynamics does, so file size and times are upper ends. The file was just written,
so it comes from the page cache.
"""

import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from idle_md.data import Labels, Store, StoreFile, StoreWriter, StreamedBatches
from idle_md.files import replacing

FIDELITIES = ["low", "high"]
PIECE = 5_000
BLOCK = 1_024
ATOMS_PER_CUBIC_ANGSTROM = 0.1


def main(
    geometries: Annotated[int, typer.Option(help="Geometries in the store.")] = 1_000_000,
    atoms: Annotated[int, typer.Option(help="Atoms in a geometry, on average.")] = 20,
    batch: Annotated[int, typer.Option(help="Geometries in a batch.")] = 128,
    cutoff: Annotated[float, typer.Option(help="Of the neighbour lists, angstrom.")] = 5.0,
    workers: Annotated[int, typer.Option(help="Loader processes.")] = 2,
    folder: Annotated[Path | None, typer.Option(help="Where the store lies meanwhile.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write how fast a large store is, and what memory it takes."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "store.h5"
        phases = {
            "write": alone(write, path, geometries, atoms),
            "open": alone(open_file, path),
            "read random blocks, one process": alone(read_blocks, path),
            f"batches, {workers} loaders": alone(sample, path, batch, cutoff, workers),
        }
        megabytes = path.stat().st_size / 1e6
    settings = {"geometries": geometries, "atoms": atoms, "batch": batch, "cutoff": cutoff}
    found = {"machine": machine(), "settings": settings, "megabytes": megabytes, "phases": phases}
    Console(width=110).print(table(found))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(found, indent=2))


def alone(phase: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return what a phase finds in a fresh process, and that process's peak of memory in MiB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measured, phase, *arguments).result()


def measured(phase: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Run a phase in this process."""
    return phase(*arguments) | {"peak_mib": peak_mib(resource.RUSAGE_SELF)}


def peak_mib(who: int) -> float:
    """Return the largest resident memory of this process, or of the largest that it waited for."""
    return resource.getrusage(who).ru_maxrss / 1024


def made_up(geometries: int, atoms: int) -> Iterator[Store]:
    """Molecules in pieces, their atoms at random places, about as dense as in organic matter."""
    rng = np.random.default_rng(0)
    for first in range(0, geometries, PIECE):
        count = min(PIECE, geometries - first)
        n_atoms = rng.integers(max(1, atoms - 5), atoms + 6, count)
        total = int(n_atoms.sum())
        side = np.repeat((n_atoms / ATOMS_PER_CUBIC_ANGSTROM) ** (1 / 3), n_atoms)
        is_high = rng.random(count) < 0.1
        energy = rng.normal(-1e4, 1e3, count)
        forces = rng.normal(size=(2, total, 3)).astype(np.float32)
        forces[1, np.repeat(~is_high, n_atoms)] = np.nan
        yield Store(
            numbers=rng.choice([1, 6, 7, 8], total),
            positions=side[:, None] * rng.random((total, 3)),
            offsets=np.concatenate([[0], np.cumsum(n_atoms)]),
            cell=np.zeros((count, 3, 3)),
            pbc=np.zeros((count, 3), dtype=bool),
            charge=np.zeros(count, dtype=np.int64),
            group=np.char.add("molecule ", (np.arange(first, first + count) // 100).astype(str)),
            role=np.full(count, "train"),
            labels={
                "low": Labels(energy, forces[0]),
                "high": Labels(np.where(is_high, energy, np.nan), forces[1]),
            },
        )


def write(path: Path, geometries: int, atoms: int) -> dict[str, Any]:
    """Write the store; the time is that of writing, not of making it up."""
    making = 0.0
    start = time.perf_counter()
    with StoreWriter(path) as writer:
        before = time.perf_counter()
        for piece in made_up(geometries, atoms):
            making += time.perf_counter() - before
            writer.append(piece)
            before = time.perf_counter()
    seconds = time.perf_counter() - start - making
    return {"seconds": seconds, "geometries_per_second": geometries / seconds}


def open_file(path: Path) -> dict[str, Any]:
    """Open the store and read one geometry."""
    start = time.perf_counter()
    with StoreFile(path) as file:
        file.read([file.n_geometries // 2])
    return {"seconds": time.perf_counter() - start}


def read_blocks(path: Path) -> dict[str, Any]:
    """Read all blocks of the store in random order, in this process, without making batches."""
    start = time.perf_counter()
    with StoreFile(path) as file:
        firsts = np.arange(0, file.n_geometries, BLOCK)
        for first in np.random.default_rng(0).permutation(firsts):
            file.read(slice(first, first + BLOCK))
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "geometries_per_second": file.n_geometries / seconds}


def sample(path: Path, batch: int, cutoff: float, workers: int) -> dict[str, Any]:
    """Take every geometry once, in random batches with neighbour lists."""
    before = os.times()
    start = time.perf_counter()
    batches = StreamedBatches(path, cutoff, FIDELITIES, size=batch)
    n_geometries = n_edges = 0
    # Forked, as by default; this process was spawned and would spawn, and count the imports.
    loader = DataLoader(
        batches, batch_size=None, num_workers=workers, multiprocessing_context="fork"
    )
    for one in loader:
        n_geometries += one.n_graphs
        n_edges += one.edge_index.shape[1]
    seconds = time.perf_counter() - start
    used = np.subtract(os.times(), before)
    return {
        "seconds": seconds,
        "geometries": n_geometries,
        "geometries_per_second": n_geometries / seconds,
        "edges_per_geometry": n_edges / n_geometries,
        "cpu_seconds": {"main": used[:2].sum(), "loaders": used[2:4].sum()},
        "loader_peak_mib": peak_mib(resource.RUSAGE_CHILDREN),
    }


def machine() -> dict[str, Any]:
    """Return what the figures hold for."""
    from training import processor  # after the phases: it imports what would count as their memory

    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "h5py": h5py.__version__}
    versions["hdf5"] = h5py.version.hdf5_version
    return {"processor": processor(), "cpus": os.cpu_count(), "versions": versions}


def table(found: dict[str, Any]) -> Table:
    """Return the figures as a table."""
    settings, one = found["settings"], found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in one["versions"].items())
    rows = Table(
        title=f"{settings['geometries']:,} geometries of about {settings['atoms']} atoms, "
        f"{found['megabytes']:.0f} MB; batches of {settings['batch']} with neighbour lists to "
        f"{settings['cutoff']:g} angstrom",
        caption=f"{one['processor']}, {one['cpus']} CPUs, {versions}",
    )
    rows.add_column("phase")
    for heading in ("seconds", "geometries/s", "peak, MiB", "peak of a loader, MiB"):
        rows.add_column(heading, justify="right")
    for name, phase in found["phases"].items():
        rate, loader = phase.get("geometries_per_second"), phase.get("loader_peak_mib")
        rows.add_row(
            name,
            f"{phase['seconds']:.2f}",
            f"{rate:,.0f}" if rate else "",
            f"{phase['peak_mib']:.0f}",
            f"{loader:.0f}" if loader else "",
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
