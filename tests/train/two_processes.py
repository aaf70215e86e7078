"""What test_distributed.py has two processes do: `python two_processes.py FOLDER`.

FOLDER holds config.yaml. The processes are started as by `torchrun`, but have all that is imported
here already, and they are started twice: the first training is killed from outside, and goes on the
second time.
"""

import copy
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel

from idle_md.cli.main import app
from idle_md.data import Batch
from idle_md.nn import Potential
from idle_md.train import load_config, processes
from idle_md.train.stages.untrained import untrained_potential
from idle_md.train.task import Task, build_task

HIDDEN = {  # columns of which the second process has no energies, and no forces
    "nothing": ([], []),
    "target": ([1], []),
    "forces": ([], [0]),
    "everything": ([0, 1], [0, 1]),
}


class Loss(nn.Module):
    def __init__(self, task: Task, potential: Potential) -> None:
        super().__init__()
        self.potential, self.objective = potential, task.objective

    def forward(self, batch: Batch) -> Tensor:
        return self.objective(self.potential, batch)[0]


def gradients(task: Task, potential: Potential) -> dict[str, Tensor]:
    """Gradients of the loss of seven geometries; every second of them lacks labels."""
    loss: nn.Module = Loss(task, potential)
    if processes.count() > 1:
        loss = DistributedDataParallel(loss)
    found, indices = {}, task.stream[0][:7]
    for name, (energies, forces) in HIDDEN.items():
        tensors = copy.deepcopy(task.tensors)
        for g in indices[1::2]:
            tensors.energies[g, energies] = torch.nan
            tensors.forces[tensors.offsets[g] : tensors.offsets[g + 1], forces] = torch.nan
        loss.zero_grad()
        loss(tensors.batch(processes.share(indices)).to("cpu", torch.float64)).backward()
        trained = [p for p in loss.parameters() if p.requires_grad]
        found[name] = torch.cat([p.grad.flatten() for p in trained])
    return found


def train(folder: Path, out: str, *arguments: str) -> None:
    config = str(folder / "config.yaml")
    app(["train", config, f"out={folder / out}", *arguments], standalone_mode=False)


def work(folder: Path) -> None:
    """Write what one of the processes finds into the folder."""
    task = build_task(load_config(folder / "config.yaml"))
    potential = untrained_potential(task).to_precision(torch.float64)
    nn.init.normal_(potential.heads.output["wb97x"].weight, std=0.3)  # it starts at zero
    expected = gradients(task, potential)
    processes.join()
    rank = processes.rank()
    (folder / f"process-{rank}").write_text(str(os.getpid()))

    train(folder, "killed", "--resume")
    train(folder, "whole")
    found = gradients(task, potential)
    error = {k: float((found[k] - g).abs().max() / g.abs().max()) for k, g in expected.items()}
    (folder / f"gradients-{rank}.json").write_text(json.dumps(error))
    try:
        train(folder, "refused", "batch.size=1")
    except ValueError as error:
        (folder / f"refused-{rank}").write_text(str(error))


if __name__ == "__main__":
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        max_restarts=0,
    )
    with suppress(ChildFailedError):
        elastic_launch(config, work)(Path(sys.argv[1]))
    elastic_launch(config, work)(Path(sys.argv[1]))
