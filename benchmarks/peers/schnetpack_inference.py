"""Evaluate SchNetPack's PaiNN.

Runs in an environment of its own, see ``schnetpack.txt``; started by ``benchmarks/peers_speed.py``.
Sizes are those of SchNetPack's MD17 configuration but for the width where settings say so. Pairs
come from outside, as from its neighbour list transforms. Modes: eager; and TorchScript, as
``spkdeploy`` writes it for LAMMPS.
"""

from typing import Any

import torch
import torch.utils.data.dataloader as loader
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor

loader.T_co = Any  # SchNetPack 2.1.1 imports this annotation, which torch 2.13 has renamed

import schnetpack as spk  # noqa: E402
from schnetpack import properties  # noqa: E402

ENERGY, FORCES = "energy", "forces"


def painn(settings: dict[str, Any]) -> spk.model.NeuralNetworkPotential:
    """Return the model."""
    cutoff, features = settings["cutoff"], settings["features"]
    return spk.model.NeuralNetworkPotential(
        representation=spk.representation.PaiNN(
            n_atom_basis=features,
            n_interactions=settings["interactions"],
            radial_basis=spk.nn.GaussianRBF(n_rbf=settings["n_radial"], cutoff=cutoff),
            cutoff_fn=spk.nn.CosineCutoff(cutoff),
        ),
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(n_in=features, output_key=ENERGY),
            spk.atomistic.Forces(energy_key=ENERGY, force_key=FORCES),
        ],
    )


def graph(structure: Structure, cutoff: float) -> dict[str, Tensor]:
    """Return SchNetPack's input, with the pairs."""
    centres, neighbors = torch.from_numpy(structure.pairs(cutoff))
    numbers = torch.from_numpy(structure.numbers)
    return {
        properties.Z: numbers,
        properties.R: torch.from_numpy(structure.positions).float(),
        properties.idx_i: centres,
        properties.idx_j: neighbors,
        properties.offsets: torch.zeros((len(centres), 3)),
        properties.idx_m: torch.zeros_like(numbers),
        properties.n_atoms: torch.tensor([len(numbers)]),
    }


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    model = painn(settings).eval()
    inputs = graph(structure, settings["cutoff"])

    def ready(runs: torch.nn.Module) -> Evaluate:
        def evaluate() -> tuple[Tensor, Tensor]:
            found = runs(dict(inputs))
            return found[ENERGY], found[FORCES]

        return evaluate

    model.requires_grad_(False)
    modes = {
        "eager": lambda: ready(model),
        "TorchScript": lambda: ready(torch.jit.script(model)),
    }
    return Entry(modes, count(model), ("schnetpack",))


if __name__ == "__main__":
    compete(build)
