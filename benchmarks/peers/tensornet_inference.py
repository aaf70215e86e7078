"""Evaluate TorchMD-Net's TensorNet, of the size of its ANI-2x example but for the layers.

Runs in an environment of its own, see ``tensornet.txt``; started by ``benchmarks/peers_speed.py``.
The neighbour list is a part of the model, which takes positions alone, so it is within the time.
Operators are its Warp kernels, which come with the package and are faster than their PyTorch
stand-ins. Modes: eager; ``torch.compile``, with static shapes as ``TMDNETCalculator`` compiles; and
TorchScript, as its OpenMM example needs.
"""

from collections.abc import Callable
from typing import Any

import torch
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor
from torchmdnet.models.model import create_model

SIZES = {
    "model": "tensornet",
    "embedding_dimension": 128,
    "num_rbf": 32,
    "rbf_type": "expnorm",
    "trainable_rbf": False,
    "activation": "silu",
    "cutoff_lower": 0.0,
    "cutoff_upper": 5.0,
    "max_z": 128,
    "max_num_neighbors": 128,
    "equivariance_invariance_group": "O(3)",
    "atom_filter": -1,
    "prior_model": None,
    "output_model": "Scalar",
    "reduce_op": "add",
    "precision": 32,
    "derivative": False,
}


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    numbers = torch.from_numpy(structure.numbers)
    positions = torch.from_numpy(structure.positions).float()
    batch, charge = torch.zeros_like(numbers), torch.zeros(1)
    sizes = {**SIZES, "num_layers": settings["layers"]}
    weights = create_model(sizes).state_dict()

    def create(static: bool) -> torch.nn.Module:
        model = create_model({**sizes, "static_shapes": static}).requires_grad_(False).eval()
        model.load_state_dict(weights)
        return model

    def ready(runs: Callable[..., tuple[Tensor, Tensor]]) -> Evaluate:
        def evaluate() -> tuple[Tensor, Tensor]:
            points = positions.clone().requires_grad_(True)
            energy, _ = runs(numbers, points, batch=batch, q=charge)
            (gradient,) = torch.autograd.grad(energy.sum(), points)
            return energy, -gradient

        return evaluate

    def compiled() -> Evaluate:
        model = create(static=True)
        model(numbers, positions, batch=batch, q=charge)  # sets sizes that cannot be traced
        return ready(torch.compile(model, dynamic=False, fullgraph=True, mode="reduce-overhead"))

    modes = {
        "eager": lambda: ready(create(static=False)),
        "torch.compile": compiled,
        "TorchScript": lambda: ready(torch.jit.script(create(static=False))),
    }
    return Entry(modes, count(create(static=False)), ("torchmd-net",), True)


if __name__ == "__main__":
    compete(build)
