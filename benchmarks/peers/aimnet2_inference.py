"""Evaluate AIMNet2, one network with its Coulomb energy and without dispersion, random weights.

Runs in an environment of its own, see ``aimnet2.txt``; started by ``benchmarks/peers_speed.py``.
The model is the one that the package describes in ``aimnet2.yaml``; trained weights are downloaded
at run time. ``AIMNet2Calculator`` prepares the input, neighbour matrices included, once; what it
does with that is timed: the model and its gradient. Modes: eager, and ``torch.compile`` as the
calculator's ``compile_model``; on a CPU its performance guide has nothing else to offer.
"""

from pathlib import Path
from typing import Any

import aimnet.models
import torch
from aimnet.calculators import AIMNet2Calculator
from aimnet.config import build_module
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    model = build_module(str(Path(aimnet.models.__file__).with_name("aimnet2.yaml")))
    calculator = AIMNet2Calculator(model, device="cpu")
    molecule = {
        "coord": torch.from_numpy(structure.positions).float(),
        "numbers": torch.from_numpy(structure.numbers),
        "charge": torch.zeros(1),
    }
    prepared = calculator.prepare_input(molecule)
    n_atoms = len(structure.numbers)

    def ready(runs: torch.nn.Module) -> Evaluate:
        def evaluate() -> tuple[Tensor, Tensor]:
            positions = prepared["coord"].detach().requires_grad_(True)
            energy = runs({**prepared, "coord": positions})["energy"]
            (gradient,) = torch.autograd.grad(energy.sum(), positions)
            return energy, -gradient[:n_atoms]

        return evaluate

    modes = {
        "eager": lambda: ready(calculator.model),
        "torch.compile": lambda: ready(torch.compile(calculator.model, fullgraph=True)),
    }
    return Entry(modes, count(model), ("aimnet",))


if __name__ == "__main__":
    compete(build)
