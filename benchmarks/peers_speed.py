"""Energies and forces per second of idle_md and of other packages, on the same structures.

    python benchmarks/peers_speed.py [--atoms 21 198] [--only TorchANI idle_md] [--json speed.json]

Aspirin (21 atoms) and clusters of water, one structure at a time, float32. Every model has the
sizes that its package publishes or documents and random weights, runs in the fastest of its
documented modes, and lives in an environment of its own that the first run sets up (1.4 GB each),
see ``benchmarks/peers``. Neighbour lists are made beforehand, except where the table says that a
model makes its own. Each contestant is a process that waits between rounds, so they take turns
within one run; medians over the rounds are reported, and ratios within a round to two of ours. All
keep the memory that they free, as ``idle_md.memory`` has it.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers.contestants import (
    PEERS,
    Contestant,
    ContestantError,
    peer_python,
    processor,
    spread,
)
from peers.structures import structure, write
from rich.console import Console
from rich.table import Table

from idle_md.files import replacing

PAINN = {"features": 128, "interactions": 3, "cutoff": 5.0, "n_radial": 20}
SMALL = {"features": 64, "interactions": 2, "cutoff": 4.0, "n_radial": 16}
OURS = "idle_md"
REFERENCES = {"128x3": "idle_md PaiNN 128x3", "64x2": "idle_md PaiNN 64x2"}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "idle_md PaiNN 128x3": (OURS, PAINN),
    "idle_md PaiNN 64x2": (OURS, SMALL),
    "idle_md PaiNN 48x2": (OURS, {**SMALL, "features": 48}),
    "idle_md PaiNN 32x2": (OURS, {**SMALL, "features": 32}),
    "TorchANI ANI-2x, 1 network": ("torchani", {"networks": 1}),
    "TorchANI ANI-2x, 8 networks": ("torchani", {"networks": 8}),
    "TorchANI ANI-2x sizes for H, C, N, O": ("torchani", {"networks": 1, "symbols": "HCNO"}),
    "SchNetPack PaiNN 128x3": ("schnetpack", PAINN),
    "NequIP preset S": ("nequip", {"size": "S"}),
    "NequIP tutorial": ("nequip", {"size": "tutorial"}),
    "AIMNet2, 1 network": ("aimnet2", {}),
    "TorchMD-Net TensorNet, 1 layer": ("tensornet", {"layers": 1}),
    "TorchMD-Net TensorNet, 2 layers": ("tensornet", {"layers": 2}),
    "MACE-OFF23 small": ("mace", {}),
}
KEEP_MEMORY = {  # what idle_md.memory sets
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1024 << 20),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def start(name: str, file: Path, arguments: argparse.Namespace) -> Contestant:
    """Start a contestant, in its environment.

    Raises
    ------
    ContestantError
        If it cannot be installed or run.
    """
    package, settings = CONTESTANTS[name]
    if package == OURS:
        python = Path(sys.executable)
        settings = {**settings, "kernels": arguments.kernels}
    else:
        python = peer_python(package, arguments.environments / f"{package}-env")
    own = json.dumps({**settings, "threads": arguments.threads})
    command: list[str | Path] = [python, PEERS / f"{package}_inference.py", file, own]
    return Contestant(command, arguments.threads, KEEP_MEMORY)


def race(
    file: Path, arguments: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], dict[str, str]]:
    """Let all take turns on one structure; return what was measured, and why others failed."""
    started: dict[str, Contestant] = {}
    failed: dict[str, str] = {}
    steps: dict[str, int] = {}
    for name in names(arguments.only):
        console.print(f"{name} ...", style="dim")
        try:
            started[name] = start(name, file, arguments)
            steps[name] = steps_of(started[name], arguments.seconds)
        except ContestantError as error:
            failed[name] = str(error)
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name in [name for name in steps if name not in failed]:
            try:
                answers[name].append(started[name].run(steps[name]))
            except ContestantError as error:
                failed[name] = str(error)
    for one in started.values():
        one.stop()
    finished = {name: times for name, times in answers.items() if name not in failed}
    return summary({name: started[name].about for name in finished}, finished), failed


def names(only: Sequence[str] | None) -> list[str]:
    """Return the contestants whose names contain one of these; those of the ratios always."""
    chosen = [word.lower() for word in only or [""]]
    always = set(REFERENCES.values())
    return [n for n in CONTESTANTS if n in always or any(word in n.lower() for word in chosen)]


def steps_of(one: Contestant, seconds: float) -> int:
    """Return how many evaluations make a round of about this time."""
    answer = one.run(3)
    per_second = float(answer["steps"]) / float(answer["seconds"])
    return max(1, round(seconds * per_second))


def summary(
    about: dict[str, dict[str, Any]], answers: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """Return milliseconds per evaluation and ratios within rounds."""
    times = {k: [1e3 * a["seconds"] / a["steps"] for a in v] for k, v in answers.items()}
    found = {}
    for name, own in times.items():
        ratios = {
            short: spread([a / b for a, b in zip(own, times[reference], strict=True)])
            for short, reference in REFERENCES.items()
            if reference in times
        }
        milliseconds = spread(own)
        rate = 1e3 / milliseconds["median"]
        found[name] = {**about[name], "ms": milliseconds, "per_second": rate, "ratios": ratios}
    return found


def table(found: dict[str, Any], failed: dict[str, str], title: str) -> Table:
    """Return the figures as a table."""
    rows = Table(title=title, caption="median (minimum to maximum) over rounds")
    for heading in ("model", "mode", "makes neighbour list"):
        rows.add_column(heading)
    headings = ("torch", "parameters", "E + F per second", "ms", *(f"/ {r}" for r in REFERENCES))
    for heading in headings:
        rows.add_column(heading, justify="right")
    for name, one in found.items():
        ms, ratios = one["ms"], one["ratios"]
        rows.add_row(
            name,
            one["mode"],
            "yes" if one["neighbor_list"] else "no",
            one["versions"]["torch"],
            f"{one['parameters']:,}",
            f"{one['per_second']:.1f}",
            f"{ms['median']:.2f} ({ms['min']:.2f} to {ms['max']:.2f})",
            *(f"{ratios[r]['median']:.2f}" if r in ratios else "" for r in REFERENCES),
        )
    for name, why in failed.items():
        rows.add_row(name, f"[red]{why}")
    return rows


def parsed() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[21, 198])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="part of a contestant's name")
    parser.add_argument("--kernels", nargs="+", default=["portable", "native"], help="of ours")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round, each contestant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/speed"))
    parser.add_argument("--environments", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def main() -> None:
    """Measure at every size, print, write."""
    arguments = parsed()
    console = Console(width=170)
    sizes = {}
    for n_atoms in arguments.atoms:
        file = arguments.out / f"{n_atoms}.npz"
        write(structure(n_atoms), file)
        found, failed = race(file, arguments, console)
        title = f"{n_atoms} atoms, {processor()}, {arguments.threads} thread(s)"
        console.print(table(found, failed, title))
        sizes[n_atoms] = {"contestants": found, "failed": failed}
    if arguments.json is not None:
        keys = ("kernels", "rounds", "seconds", "threads")
        settings = {key: getattr(arguments, key) for key in keys}
        machine = {"processor": processor(), "cpus": os.cpu_count(), "system": platform.platform()}
        result = {"machine": machine, "settings": settings, "sizes": sizes}
        with replacing(arguments.json) as partial:
            partial.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
