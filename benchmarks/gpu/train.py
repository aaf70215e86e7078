"""Train for a minute and adapt once on a device; geometries per second, and seconds.

python benchmarks/gpu/train.py [--device cuda] [--seconds 60] [--json FILE]
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from figures import write

from idle_md.train import TrainConfig, train

STEPS, BATCH = 20, 64
LABELS = 72  # of the new level


def main(
    device: str = "cuda",
    seconds: float = 60.0,
    features: int = 128,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Train in runs that get longer until the time is over; the last one's speed counts."""
    steps, begin, rate = STEPS, time.perf_counter(), 0.0
    while True:
        took = trained(steps, features, device)
        rate = steps * BATCH / took
        print(f"{steps} steps: {took:.1f} s, {rate:.0f} geometries/s", flush=True)
        if time.perf_counter() - begin + 2.0 * took > seconds:
            break
        steps *= 2
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "features": features,
        "batch": BATCH,
        "geometries_per_second": rate,
    }
    write(output, "train", found)
    found["adapt_seconds"] = adapted(features, device)
    write(output, "train", found)
    print(json.dumps(found))


def trained(steps: int, features: int, device: str) -> float:
    """Return the seconds that a run of so many steps takes, its start included."""
    single = {"target": "gfn2", "labels": {"gfn2": ["energy", "forces"]}, "method": "single"}
    return wall_seconds(single, {}, steps, features, device)


def adapted(features: int, device: str) -> float:
    """Return the seconds that a closed form takes, with few steps of training before and after."""
    student = {"batch_size": BATCH, "budget": {"steps": STEPS, "validate_every": STEPS}}
    method = {"name": "adapt", "source": "gfn2", "student": {**student, "geometries": 2_000}}
    labels = {"gfn2": ["energy", "forces"], "wb97x": ["energy", "forces"]}
    adapt = {"target": "wb97x", "labels": labels, "method": method}
    return wall_seconds(adapt, {"budgets": {"wb97x": LABELS}}, STEPS, features, device)


def wall_seconds(
    settings: dict[str, Any], data: dict[str, Any], steps: int, features: int, device: str
) -> float:
    """Return the seconds that a training takes."""
    with tempfile.TemporaryDirectory() as folder:
        whole = {
            "out": str(Path(folder) / "run"),
            "data": {"store": "chno-mini", "split": {"validation": 0.1}, **data},
            "backbone": {"features": features, "interactions": 3, "cutoff": 5.0},
            "batch": {"size": BATCH},
            "budget": {"steps": steps, "validate_every": steps},
            "device": device,
            **settings,
        }
        begin = time.perf_counter()
        train(TrainConfig.model_validate(whole))
        return time.perf_counter() - begin


if __name__ == "__main__":
    typer.run(main)
