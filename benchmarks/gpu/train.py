"""Train for a minute on the best device that torch sees; geometries per second.

python benchmarks/gpu/train.py [--seconds 60] [--json FILE]
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from idle_md.files import replacing
from idle_md.train import TrainConfig, train

STEPS, BATCH = 20, 64


def main(
    seconds: float = 60.0,
    features: int = 128,
    output: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Train in runs that get longer until the time is over; the last one's speed counts."""
    steps, begin, rate = STEPS, time.perf_counter(), 0.0
    while True:
        took = trained(steps, features)
        rate = steps * BATCH / took
        print(f"{steps} steps: {took:.1f} s, {rate:.0f} geometries/s", flush=True)
        if time.perf_counter() - begin + 2.0 * took > seconds:
            break
        steps *= 2
    found = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "features": features,
        "batch": BATCH,
        "geometries_per_second": rate,
    }
    print(json.dumps(found))
    if output is not None:
        with replacing(output) as file:
            file.write_text(json.dumps(found, indent=2))


def trained(steps: int, features: int) -> float:
    """Return the seconds that a run of so many steps takes, its start included."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "out": str(Path(folder) / "run"),
            "target": "gfn2",
            "labels": {"gfn2": ["energy", "forces"]},
            "data": {"store": "chno-mini", "split": {"validation": 0.1}},
            "backbone": {"features": features, "interactions": 3, "cutoff": 5.0},
            "batch": {"size": BATCH},
            "budget": {"steps": steps, "validate_every": steps},
        }
        begin = time.perf_counter()
        train(TrainConfig.model_validate(settings))
        return time.perf_counter() - begin


if __name__ == "__main__":
    typer.run(main)
