"""Training on a large store: its memory, and its speed next to that of a small store.

    python benchmarks/data.py [--geometries 1000000] [--json data.json]

Writes two stores of molecules of 20 atoms at two levels of theory with ``StoreWriter``: molecules
of chno-mini, every atom displaced at random, with labels to go with it. ``idle-md train`` runs on
each; its peak of resident memory is that of the whole process, from loading to the errors on test
data. Then both trainings take turns within one run, as in ``training.py``, and the median over the
rounds of the ratio of their speeds is reported, by the clock and by processor time. Stores that
were just written come from the page cache.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from peers.contestants import PEERS, Contestant, processor, spread
from rich.console import Console
from rich.table import Table

from idle_md.data import Labels, Store, StoreWriter, load
from idle_md.files import replacing

N_ATOMS = 20
PIECE = 5_000
SMALL = 10_000
HIGH_SHARE = 0.05
N_TEST = 200
N_HIGH = 200
DISPLACEMENT = 0.05  # angstrom, along every axis
PACKAGES = ("torch", "lightning", "numpy", "h5py")


def main(
    geometries: Annotated[int, typer.Option(help="Geometries in the large store.")] = 1_000_000,
    batch: Annotated[int, typer.Option(help="Geometries in a batch.")] = 40,
    steps: Annotated[int, typer.Option(help="Steps of `idle-md train`.")] = 200,
    rounds: Annotated[int, typer.Option(help="Turns of each; 0 for memory alone.")] = 15,
    turn: Annotated[int, typer.Option(help="Steps in a turn.")] = 20,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
    features: Annotated[int, typer.Option(help="Width of the model.")] = 32,
    folder: Annotated[Path | None, typer.Option(help="Keep the stores here, or take them.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print and write what memory and time a training on a large store takes."""
    settings = {"batch": batch, "steps": steps, "threads": threads, "features": features}
    found: dict[str, Any] = {"machine": machine(), "settings": settings, "stores": {}}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        configs = {}
        for name, count in (("small", SMALL), ("large", geometries)):
            path = (folder or Path(place)) / f"{count}.h5"
            if not path.is_file():
                write(path, count)
            configs[name] = write_config(path, Path(place) / name, **settings)
            about = {"geometries": count, "megabytes": path.stat().st_size / 1e6}
            found["stores"][name] = about | train(configs[name], threads)
        found["ratio"] = in_turns(configs, threads, rounds, turn) if rounds else None
    Console(width=110).print(table(found))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(found, indent=2))


def displaced(geometries: int) -> Iterator[Store]:
    """Molecules in pieces; energies are those of the undisplaced one to first order."""
    base = load("chno-mini", ["gfn2"])
    base = base.select(base.n_atoms == N_ATOMS)
    known, rng = base.labels_of("gfn2"), np.random.default_rng(0)
    for first in range(0, geometries, PIECE):
        count = min(PIECE, geometries - first)
        chosen = rng.integers(base.n_geometries, size=count)
        rows = (base.offsets[chosen][:, None] + np.arange(N_ATOMS)).ravel()
        moves, forces = rng.normal(0, DISPLACEMENT, (len(rows), 3)), known.forces[rows]
        work = (forces * moves).sum(1).reshape(count, N_ATOMS).sum(1)
        low = known.energy[chosen] - work
        number = np.arange(first, first + count)
        yield Store(
            numbers=base.numbers[rows],
            positions=base.positions[rows] + moves,
            offsets=N_ATOMS * np.arange(count + 1),
            cell=np.zeros((count, 3, 3)),
            pbc=np.zeros((count, 3), dtype=bool),
            charge=np.zeros(count, dtype=np.int64),
            group=np.char.add("molecule ", (number // 100).astype(str)),
            role=np.where(number < N_TEST, "test", ""),
            labels={
                "low": Labels(low, forces),
                "high": Labels(
                    np.where(rng.random(count) < HIGH_SHARE, 1.01 * low, np.nan),
                    np.full_like(forces, np.nan),
                ),
            },
        )


def write(path: Path, geometries: int) -> None:
    """Write a store in pieces."""
    with StoreWriter(path) as writer:
        for piece in displaced(geometries):
            writer.append(piece)


def write_config(
    store: Path, out: Path, batch: int, steps: int, threads: int, features: int
) -> Path:
    """Write a configuration that trains on all low and some high labels and return its file."""
    path = out.with_suffix(".yaml")
    settings = {
        "out": str(out),
        "target": "high",
        "labels": {"low": ["energy", "forces"], "high": ["energy"]},
        "data": {"store": str(store), "budgets": {"high": N_HIGH}},
        "backbone": {"features": features, "interactions": 2, "cutoff": 5.0, "n_radial": 16},
        "batch": {"size": batch},
        "budget": {"steps": steps, "validate_every": max(1, steps // 3)},
        "threads": threads,
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def train(config: Path, threads: int) -> dict[str, Any]:
    """Run ``idle-md train`` and return its peak of memory and its times."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "idle_md", "train", str(config)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    metrics = json.loads((config.with_suffix("") / "metrics.json").read_text())
    return {
        "peak_mib": used.ru_maxrss / 1024,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "fit_seconds": metrics["train_seconds"],
    }


def in_turns(configs: dict[str, Path], threads: int, rounds: int, turn: int) -> dict[str, Any]:
    """Let both trainings take turns; return the ratio of their speeds and what making batches took.

    A ratio below 1 means that the large store is slower.
    """
    script, started = PEERS / "idle_md_training.py", {}
    for name, config in configs.items():
        settings = {"config": str(config), "threads": threads, "kind": "fit"}
        out = config.with_name(f"{name}-turns")
        started[name] = Contestant([sys.executable, script, out, json.dumps(settings)], threads)
    answers = [{name: one.run(turn) for name, one in started.items()} for _ in range(rounds)]
    for one in started.values():
        one.stop()
    batches = {name: [1e3 * a[name]["waited"] / turn for a in answers] for name in started}
    clocks = {"speed": "seconds", "cpu_speed": "cpu_seconds"}
    return {
        **{k: spread([a["small"][c] / a["large"][c] for a in answers]) for k, c in clocks.items()},
        "step_ms": {k: spread([1e3 * a[k]["seconds"] / turn for a in answers]) for k in started},
        "batch_ms": {name: spread(values) for name, values in batches.items()},
    }


def machine() -> dict[str, Any]:
    """Return what the figures hold for."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    return {"processor": processor(), "cpus": os.cpu_count(), "versions": versions}


def table(found: dict[str, Any]) -> Table:
    """Return the figures as a table."""
    one, settings, ratio = found["machine"], found["settings"], found["ratio"]
    versions = ", ".join(f"{name} {number}" for name, number in one["versions"].items())
    speed = "".join(
        f"large / small, geometries per second {clock}: {ratio[key]['median']:.3f} "
        f"({ratio[key]['min']:.3f} to {ratio[key]['max']:.3f})\n"
        for key, clock in (("speed", "by the clock"), ("cpu_speed", "of processor time"))
        if ratio
    )
    rows = Table(
        title=f"idle-md train, {settings['steps']} steps of {settings['batch']} geometries, "
        f"{settings['features']} features",
        caption=f"{speed}{one['processor']}, {one['cpus']} CPUs, {versions}",
    )
    columns = {
        "geometries": ("geometries", ",.0f"),
        "file, MB": ("megabytes", ",.0f"),
        "peak, MiB": ("peak_mib", ",.0f"),
        "CPU seconds, all": ("cpu_seconds", ",.0f"),
        "seconds, all": ("seconds", ",.0f"),
        "fit alone": ("fit_seconds", ",.0f"),
    }
    for heading in (*columns, "step, ms", "its batch, ms"):
        rows.add_column(heading, justify="right")
    for name, store in found["stores"].items():
        cells = [format(store[key], style) for key, style in columns.values()]
        times = (
            [f"{ratio[k][name]['median']:.2f}" for k in ("step_ms", "batch_ms")] if ratio else []
        )
        rows.add_row(*cells, *times)
    return rows


if __name__ == "__main__":
    typer.run(main)
