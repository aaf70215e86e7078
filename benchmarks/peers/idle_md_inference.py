"""Evaluate an exported PaiNN of idle_md with random weights.

Started by ``benchmarks/peers_speed.py``. Pairs and their vectors come from outside, as an engine
gives them; forces are summed up from what the model returns by pair. Modes: the portable graph and
the native operators.
"""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor

from idle_md.deploy import DeployedModel, describe, extract, load, save
from idle_md.nn import PaiNN, Potential

ELEMENTS = [1, 6, 7, 8]
SIZES = ("features", "interactions", "cutoff", "n_radial")


def potential(settings: dict[str, Any]) -> Potential:
    """Return a potential of one fidelity."""
    torch.manual_seed(0)
    config = PaiNN.Config(**{key: settings[key] for key in SIZES})
    return Potential(PaiNN(ELEMENTS, config), ["target"])


def deployed(model: Potential, kernels: str) -> DeployedModel:
    """Export a potential and load the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        save(extract(model, "target"), path, describe(model, "target"))
        return load(path, kernels=kernels)


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model, with its native operators and with its portable graph."""
    trained = potential(settings)

    def ready(kernels: str) -> Evaluate:
        model = deployed(trained, kernels)
        species, edge_index, vectors = model.inputs(structure.numbers, structure.positions)
        centre, neighbor = edge_index

        def evaluate() -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                energies, gradients = model.core(species, edge_index, vectors, len(species))
                forces = gradients.new_zeros((len(species), 3)).index_add_(0, centre, gradients)
                return energies.sum(), forces.index_add_(0, neighbor, gradients, alpha=-1.0)

        return evaluate

    modes = {kernels: partial(ready, kernels) for kernels in settings["kernels"]}
    return Entry(modes, count(trained), ("idle-md",))


if __name__ == "__main__":
    compete(build)
