"""Training throughput on energies and forces, next to SchNetPack's PaiNN of the same size.

    python benchmarks/training.py [--json training.json]

Trains PaiNN on the GFN2-xTB energies and forces of chno-mini, as ``idle-md train`` does and as
SchNetPack documents, and counts geometries per second. Each contestant is a process that waits
between rounds of steps, so they take turns within one run; the medians over the rounds are
reported, of the ratios too. SchNetPack is installed into an environment of its own, see
``benchmarks/peers``, and reads its data in the process that trains or in a worker besides.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from peers.contestants import PEERS, Contestant, peer_python, processor, spread
from peers.idle_md_training import configuration
from rich.console import Console
from rich.table import Table

from idle_md.files import replacing
from idle_md.train.task import build_task

OURS = {
    "idle-md train, compile: true": ("fit", True),
    "idle-md train": ("fit", False),
    "bare step, compiled": ("step", True),
    "bare step": ("step", False),
}
PEER = {"SchNetPack": 0, "SchNetPack, 1 worker": 1}
REFERENCE = "SchNetPack, 1 worker"


def write_geometries(settings: dict[str, Any], folder: Path) -> Path:
    """Write the geometries that ours trains on for the peer and return the file."""
    task = build_task(configuration({**settings, "compiled": False}, folder))
    store = task.store.select(task.splits["train"])
    labels = store.labels_of("gfn2")
    arrays: dict[str, Any] = {
        "numbers": store.numbers,
        "positions": store.positions,
        "offsets": store.offsets,
    }
    arrays |= {"energies": labels.energy, "forces": labels.forces}
    digest = hashlib.sha256(b"".join(arrays[key].tobytes() for key in sorted(arrays)))
    file = folder / f"data-{digest.hexdigest()[:12]}" / "geometries.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)
    return file


def contestants(settings: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Contestant]:
    """Start everybody, one after the other, each up to the end of its warm-up."""
    started = {}
    python = peer_python("schnetpack", arguments.environment)
    geometries = write_geometries(settings, arguments.out)
    script = PEERS / "schnetpack_training.py"
    command: list[str | Path]
    for name, workers in PEER.items():
        own = json.dumps({**settings, "workers": workers})
        command = [python, script, geometries, geometries.parent, own]
        started[name] = Contestant(command, settings["threads"])
    for name, (kind, compiled) in OURS.items():
        own = json.dumps({**settings, "kind": kind, "compiled": compiled})
        command = [sys.executable, PEERS / "idle_md_training.py", arguments.out / "run", own]
        started[name] = Contestant(command, settings["threads"])
    return started


def measure(
    started: dict[str, Contestant], batch: int, rounds: int, steps: int
) -> dict[str, dict[str, Any]]:
    """Let everybody take turns and return geometries per second, ratios and loading times."""
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in started}
    for _ in range(rounds):
        for name, one in started.items():
            answers[name].append(one.run(steps))
    rates = {k: [batch * a["steps"] / a["seconds"] for a in v] for k, v in answers.items()}
    found = {}
    for name, rate in rates.items():
        ratios = [a / b for a, b in zip(rate, rates[REFERENCE], strict=True)]
        loading = [1e3 * a["waited"] / a["steps"] for a in answers[name]]
        shares = [a["waited"] / a["seconds"] for a in answers[name]]
        found[name] = {
            **started[name].about,
            "samples_per_second": spread(rate),
            "ratio": spread(ratios),
            "loading_ms": spread(loading),
            "loading_share": spread(shares),
        }
    return found


def table(found: dict[str, dict[str, Any]], title: str) -> Table:
    """Return the figures as a table."""
    rows = Table(title=title, caption="median (minimum to maximum) over rounds")
    rows.add_column("training")
    headings = ("torch", "parameters", "geometries/s", f"/ {REFERENCE}", "loading, ms", "share")
    for heading in headings:
        rows.add_column(heading, justify="right")
    for name, one in found.items():
        rate, ratio = one["samples_per_second"], one["ratio"]
        rows.add_row(
            name,
            one["versions"]["torch"],
            f"{one['parameters']:,}",
            f"{rate['median']:.0f} ({rate['min']:.0f} to {rate['max']:.0f})",
            f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
            f"{one['loading_ms']['median']:.2f}",
            f"{one['loading_share']['median']:.1%}",
        )
    return rows


def main() -> None:
    """Parse arguments, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--interactions", type=int, default=2)
    parser.add_argument("--n-radial", type=int, default=16)
    parser.add_argument("--cutoff", type=float, default=5.0, help="angstrom")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/training"))
    parser.add_argument("--environment", type=Path, default=Path("runs/benchmarks/schnetpack-env"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    keys = ("batch", "features", "interactions", "n_radial", "cutoff", "threads")
    settings = {key: getattr(arguments, key) for key in keys}
    started = contestants(settings, arguments)
    found = measure(started, arguments.batch, arguments.rounds, arguments.steps)
    for one in started.values():
        one.stop()
    title = f"PaiNN, energies and forces of chno-mini, {processor()}, {settings}"
    Console(width=130).print(table(found, title))
    if arguments.json is not None:
        machine = {"processor": processor(), "cpus": os.cpu_count()}
        result = {"machine": machine, "settings": settings, "contestants": found}
        with replacing(arguments.json) as file:
            file.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
