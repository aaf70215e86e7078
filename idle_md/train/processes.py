"""Several processes that train one model, as torchrun or SLURM's srun start them.

Each computes its share of every batch; one process alone is the case in which nothing is exchanged.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from idle_md.devices import find_device
from idle_md.train.batches import Indices

T = TypeVar("T")
PATIENCE = timedelta(hours=2)  # the others wait this long while the first one evaluates or writes


def join() -> None:
    """Connect the processes that torchrun or srun started, if there are several."""
    launcher = _launcher()
    if launcher is None or launcher.world_size() == 1 or dist.is_initialized():
        return
    os.environ["MASTER_ADDR"] = launcher.main_address
    os.environ["MASTER_PORT"] = str(launcher.main_port)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    rank, size = launcher.global_rank(), launcher.world_size()
    dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)


def _launcher() -> ClusterEnvironment | None:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    # Set by srun alone; a batch script without srun is one process, whatever SLURM_NTASKS says.
    if "SLURM_STEP_NUM_TASKS" in os.environ and SLURMEnvironment.detect():
        return SLURMEnvironment(auto_requeue=False)
    return None


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(indices: Indices) -> Indices:
    """Return this process's part of indices (n,), every ``count()``-th of them."""
    return indices[rank() :: count()]


def device(name: str | None) -> torch.device:
    """Return where this process trains; every one on a machine has a GPU of its own.

    Parameters
    ----------
    name
        See :func:`~idle_md.devices.find_device`; None takes a GPU where torch sees one.

    Raises
    ------
    ValueError
        If there is no such device, there are fewer GPUs than processes, or several processes are
        to share one.
    """
    chosen = find_device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    launcher = None if count() == 1 else _launcher()
    if chosen.type == "cpu" or (launcher is None and chosen.index is not None):
        return chosen
    if launcher is None:
        return torch.device("cuda", 0)
    if chosen.index is not None:
        raise ValueError(f"device: {name} is one GPU for {count()} processes: set `device: cuda`")
    return find_device(f"cuda:{launcher.local_rank()}")


def trainer_settings(where: torch.device) -> dict[str, Any]:
    """Return those arguments of Lightning's ``Trainer`` that depend on the processes.

    Parameters
    ----------
    where
        What :func:`device` returned.
    """
    accelerator = "cpu" if where.type == "cpu" else "cuda"
    if count() == 1:
        return {"accelerator": accelerator, "devices": 1 if where.index is None else [where.index]}
    launcher = _launcher()
    assert launcher is not None
    nodes = torch.tensor(launcher.node_rank() + 1)
    dist.all_reduce(nodes, dist.ReduceOp.MAX)
    return {
        "accelerator": accelerator,
        "devices": count() // int(nodes),
        "num_nodes": int(nodes),
        "strategy": DDPStrategy(cluster_environment=launcher, broadcast_buffers=False),
        "use_distributed_sampler": False,
    }


def total(values: Tensor) -> Tensor:
    """Return the sum over processes; all must take part."""
    if count() == 1:
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values


def by_first(function: Callable[[], T]) -> T:
    """Call a function in the first process; all get its result, or its error.

    What a run folder holds is looked up and written in this way, so that all go on alike.
    """
    if count() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except (ValueError, OSError) as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    result: T = outcome[0]
    return result
