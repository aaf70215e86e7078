"""Train idle_md's PaiNN on energies and forces and time the steps.

Started by ``benchmarks/training.py``, once for all that ``idle-md train`` does and once for batch,
loss, gradient and optimiser alone; and by ``benchmarks/data.py`` with configurations of its own.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

import torch
from peers.rounds import Rounds
from torch import Tensor

from idle_md.data import Batch
from idle_md.memory import keep_freed_memory
from idle_md.nn import Potential
from idle_md.run_folder import RunFolder
from idle_md.train import TrainConfig, load_config, parse_config
from idle_md.train.fit.loop import fit
from idle_md.train.loss import Objective
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import Task, build_task

ENDLESS = 1_000_000


def configuration(settings: dict[str, Any], out: Path) -> TrainConfig:
    """Return what is trained, without an end or a validation on the way.

    That is what the file ``config`` of the settings says, or else the low level of chno-mini alone.
    """
    endless = {"steps": ENDLESS, "validate_every": ENDLESS}
    if "config" in settings:
        budget = [f"budget.{key}={value}" for key, value in endless.items()]
        return load_config(settings["config"], [f"out={out}", *budget])
    model = {key: settings[key] for key in ("features", "interactions", "cutoff", "n_radial")}
    return parse_config(
        {
            "out": str(out),
            "target": "gfn2",
            "labels": {"gfn2": ["energy", "forces"]},
            "data": {"store": "chno-mini"},
            "method": "single",
            "backbone": model,
            "batch": {"size": settings["batch"]},
            "budget": endless,
            "compile": settings["compiled"],
        }
    )


@dataclasses.dataclass(frozen=True)
class TickingObjective(Objective):
    """An objective that counts the steps."""

    rounds: Rounds | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "TickingObjective":
        return self  # weight averaging copies the module that holds it

    def __call__(
        self, potential: Potential, batch: Batch, create_graph: bool = True
    ) -> tuple[Tensor, dict[int, Tensor]]:
        assert self.rounds is not None
        self.rounds.tick()
        return super().__call__(potential, batch, create_graph)


def count_loading(task: Task, rounds: Rounds) -> None:
    """Have the time that batches take to be built counted as waiting."""
    build = task.tensors.batch

    def counted(indices: Any) -> Batch:
        start = time.perf_counter()
        batch = build(indices)
        rounds.waited += time.perf_counter() - start
        return batch

    task.tensors.batch = counted  # type: ignore[method-assign]


def contestant(settings: dict[str, Any], out: Path) -> None:
    """Train, in whole or the bare step, until the parent has seen enough."""
    torch.set_num_threads(settings["threads"])
    out.mkdir(parents=True, exist_ok=True)
    task = build_task(configuration(settings, out))
    potential = untrained_potential(task)
    packages = ("torch", "lightning", "numpy")
    versions = {package: importlib.metadata.version(package) for package in packages}
    parameters = sum(p.numel() for p in potential.parameters() if p.requires_grad)
    rounds = Rounds({"versions": versions, "parameters": parameters})
    count_loading(task, rounds)
    if settings["kind"] == "fit":
        task.objective = TickingObjective(**vars(task.objective), rounds=rounds)
        fit(task, potential, RunFolder(out), resume=False, console=None)
    keep_freed_memory()
    trained = [p for p in potential.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    for step in range(ENDLESS):
        rounds.tick()
        loss, _ = task.objective(potential, task.tensors.batch(task.stream[step]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="run folder")
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    contestant(arguments.settings, arguments.out)
