"""Errors of idle_md's PaiNN and of a TorchANI network after the same training, and their speed.

    python benchmarks/peers_accuracy.py [--minutes 5] [--labels N] [--speed speed.json]

Trains both on the same geometries of chno-mini, energies and forces of one fidelity, with the same
geometries for validation, on one thread, for the same minutes of processor time, with each of a few
learning rates; the one that validates best is reported, by the score of ``idle-md train`` for both.
The TorchANI network has the descriptor and the sizes of ANI-2x for H, C, N and O and is trained as
TorchANI documents, see ``peers/torchani_accuracy.py``. Finished trainings are kept in ``--out``, so
an interrupted comparison goes on where it was. Inference times are read from what
``peers_speed.py`` wrote.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from peers.contestants import PEERS, peer_python, processor
from peers_speed import CONTESTANTS, OURS
from rich.console import Console
from rich.table import Table

from idle_md.data import Store
from idle_md.files import replacing
from idle_md.nn import load_checkpoint
from idle_md.train import TrainConfig, parse_config
from idle_md.train.errors import compare
from idle_md.train.task import Task, build_task, labelled_geometries

TORCHANI = "TorchANI ANI-2x sizes for H, C, N, O"
METRICS = {
    "energy_mae_mev": "E, meV",
    "relative_energy_mae_mev": "relative E, meV",
    "force_mae_mev_per_angstrom": "F, meV/Å",
}


def configuration(
    name: str, rate: float, seed: int, out: Path, arguments: argparse.Namespace
) -> TrainConfig:
    """Return the configuration of one of our models."""
    fidelity = arguments.fidelity
    data: dict[str, Any] = {"store": "chno-mini", "split": {"seed": seed}}
    if arguments.labels is not None:
        data["budgets"] = {fidelity: arguments.labels}
    return parse_config(
        {
            "out": str(out),
            "target": fidelity,
            "labels": {fidelity: ["energy", "forces"]},
            "data": data,
            "method": "single",
            "backbone": CONTESTANTS[name][1],
            "optimizer": {"learning_rate": rate},
            "budget": {
                "minutes": arguments.minutes,
                "validate_every": arguments.validate_every,
            },
            "seed": seed,
            "threads": 1,
            "compile": arguments.compile,
        }
    )


def run(command: Sequence[str | Path], cache: str) -> None:
    """Run a training to its end, on one thread, with a compiler's cache of its own."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PEERS.parent), "PYTHONWARNINGS": "ignore"}
    own |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    subprocess.run(command, env={**os.environ, **own}, check=True)


def train_ours(config: TrainConfig) -> dict[str, Any]:
    """Train, unless that is done, and return errors, validation score and number of weights."""
    if not (config.out / "metrics.json").is_file():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "config.yaml"
            file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
            run([sys.executable, PEERS / "idle_md_accuracy.py", file], folder)
    metrics = json.loads((config.out / "metrics.json").read_text())
    potential, about = load_checkpoint(config.out / "best.ckpt")
    return {
        **metrics["test"][config.target],
        **about["validation"],
        "parameters": sum(p.numel() for p in potential.parameters()),
        "cpu_seconds": metrics["train_seconds"],
    }


def train_torchani(task: Task, rate: float, out: Path, arguments: argparse.Namespace) -> Any:
    """Train, unless that is done, and return errors, validation score and number of weights."""
    fidelity, done = task.config.target, out / "training.json"
    test = task.store.select(task.splits["test"])
    if not done.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_geometries(task, out / "data.npz")
        settings = {"learning_rate": rate, "batch": arguments.batch, "seed": task.config.seed}
        own = json.dumps({**settings, "minutes": arguments.minutes})
        python = peer_python("torchani", arguments.environments / "torchani-env")
        with tempfile.TemporaryDirectory() as cache:
            script = PEERS / "torchani_accuracy.py"
            run([python, script, out / "data.npz", out, own], cache)
    with np.load(out / "test.npz") as found:
        errors, _ = compare(test, fidelity, found["energies"], found["forces"])
    return {**errors, **json.loads(done.read_text())}


def write_geometries(task: Task, file: Path) -> None:
    """Write what ours trains on, validates on and is tested on: eV and angstrom."""
    seen = labelled_geometries(task.tensors)[:, -1]
    arrays: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        chosen = task.splits[name]
        part = task.store.select(chosen if name == "test" else chosen[seen[chosen]])
        arrays |= {f"{name}_{key}": value for key, value in padded(part, task).items()}
    np.savez(file, **arrays)


def padded(part: Store, task: Task) -> dict[str, Any]:
    """Return geometries as arrays (G, A, ...), where atoms of number -1 fill up."""
    labels = part.labels_of(task.config.target)
    shape = part.n_geometries, int(part.n_atoms.max())
    real = np.arange(shape[1]) < part.n_atoms[:, None]
    species = np.full(shape, -1, dtype=np.int64)
    positions, forces = np.zeros((*shape, 3)), np.zeros((*shape, 3))
    species[real], positions[real], forces[real] = part.numbers, part.positions, labels.forces
    arrays = {"species": species, "positions": positions, "forces": forces}
    return {**arrays, "energies": labels.energy}


def best_of(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the learning rate that validates best leads to."""
    kind = f"{arguments.fidelity}-{arguments.labels or 'all'}-{arguments.minutes:g}min"
    if name == TORCHANI:
        rates, kind = arguments.rates_torchani, f"{kind}-batch{arguments.batch}"
    else:
        rates, kind = arguments.rates, f"{kind}-{'compiled' if arguments.compile else 'eager'}"
    tried = []
    for rate in rates:
        short = name.replace(" ", "-").replace(",", "")
        out = arguments.out / f"{short}-{kind}-{rate:g}-{seed}"
        if name == TORCHANI:
            config = configuration(arguments.models[0], rate, seed, out, arguments)
            found = train_torchani(build_task(config), rate, out, arguments)
        else:
            found = train_ours(configuration(name, rate, seed, out, arguments))
        tried.append({"learning_rate": rate, **found})
    return min(tried, key=lambda one: one["score"])


def table(rows: dict[str, list[dict[str, Any]]], speed: dict[str, Any], title: str) -> Table:
    """Return mean errors over the seeds and inference times as a table."""
    result = Table(title=title)
    result.add_column("model")
    for heading in ("weights", "learning rate", "score", *METRICS.values()):
        result.add_column(heading, justify="right")
    for n_atoms in speed:
        result.add_column(f"ms, {n_atoms} atoms", justify="right")
    for name, found in rows.items():
        rates = ", ".join(f"{rate:g}" for rate in sorted({one["learning_rate"] for one in found}))
        columns = [[one[key] for one in found] for key in ("score", *METRICS)]
        errors = [f"{np.mean(c):.1f} ± {np.std(c, ddof=len(c) > 1):.1f}" for c in columns]
        measured = [size["contestants"].get(name) for size in speed.values()]
        times = ["" if one is None else f"{one['ms']['median']:.2f}" for one in measured]
        result.add_row(name, f"{found[0]['parameters']:,}", rates, *errors, *times)
    return result


def parsed() -> argparse.Namespace:
    """Return the command line's arguments."""
    ours = [name for name, (package, _) in CONTESTANTS.items() if package == OURS]
    fast = [name for name in ours if name != "idle_md PaiNN 128x3"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fidelity", choices=["gfn2", "wb97x"], default="gfn2")
    parser.add_argument("--labels", type=int, help="training and validation; default: all")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", default=fast, choices=ours)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 4e-3])
    parser.add_argument("--rates-torchani", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3])
    parser.add_argument("--batch", type=int, default=32, help="of TorchANI")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--validate-every", type=int, default=500, help="steps of ours")
    parser.add_argument("--speed", type=Path, help="what peers_speed.py --json wrote")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/accuracy"))
    parser.add_argument("--environments", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, print, write."""
    arguments = parsed()
    speed = json.loads(arguments.speed.read_text())["sizes"] if arguments.speed else {}
    names = [TORCHANI, *arguments.models]
    rows = {name: [best_of(name, seed, arguments) for seed in arguments.seeds] for name in names}
    title = f"chno-mini, {arguments.fidelity}, test geometries, {arguments.minutes:g} minutes each"
    Console(width=150).print(table(rows, speed, f"{title}, {processor()}"))
    if arguments.json is not None:
        settings = {key: str(value) for key, value in vars(arguments).items()}
        result = {"processor": processor(), "settings": settings, "rows": rows}
        with replacing(arguments.json) as partial:
            partial.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
