"""Evaluate TorchANI's ANI-2x, or a network of its sizes for fewer elements.

Runs in an environment of its own, see ``torchani.txt``; started by ``benchmarks/peers_speed.py``.
The model is put together as ``torchani.models.ANI2x`` does, with random weights: the trained ones
are downloaded at run time. Pairs come from outside, through ``compute_from_external_neighbors``,
which is what TorchANI offers MD engines. Modes: eager; TorchScript, as in TorchANI's example on
just in time compilation; ``torch.compile``, which TorchANI tests and calls experimental; and for
several networks the first two after ``to_infer_model``, which batches them.
"""

from collections.abc import Callable
from typing import Any

import torch
import torchani
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor
from torchani.arch import ANI, Assembler

CUTOFF = 5.1
"""Of ANI-2x's radial terms, angstrom."""


def ani(symbols: tuple[str, ...], networks: int) -> ANI:
    """Return a model with ANI-2x's descriptor and network sizes and with random weights."""
    assembler = Assembler()
    assembler.set_symbols(symbols)
    assembler.set_global_cutoff_fn("cosine")
    assembler.set_aev_computer(radial="ani2x", angular="ani2x")
    assembler.set_atomic_networks(ctor="ani2x")
    assembler.set_neighborlist("all_pairs")
    assembler.set_gsaes_as_self_energies("wb97x-631gd")
    model: ANI = assembler.assemble(networks)
    return model


class EnergyAndForces(torch.nn.Module):
    """Energy in hartree and forces in hartree/angstrom, from pairs that are given."""

    def __init__(self, model: ANI) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, species: Tensor, positions: Tensor, pairs: Tensor, shifts: Tensor
    ) -> tuple[Tensor, Tensor]:
        energy = self.model.compute_from_external_neighbors(
            species, positions, pairs, shifts
        ).energies
        gradient = torch.autograd.grad([energy.sum()], [positions])[0]
        assert gradient is not None
        return energy, -gradient


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    symbols = settings.get("symbols") or torchani.utils.SYMBOLS_2X
    model = ani(tuple(symbols), settings["networks"]).requires_grad_(False).eval()
    species = torch.from_numpy(structure.numbers)[None]
    positions = torch.from_numpy(structure.positions)[None].float().requires_grad_(True)
    edges = structure.pairs(CUTOFF)
    pairs = torch.from_numpy(edges[:, edges[0] < edges[1]].copy())
    inputs = species, positions, pairs, torch.zeros((pairs.shape[1], 3))

    def ready(module: Callable[..., tuple[Tensor, Tensor]]) -> Evaluate:
        return lambda: module(*inputs)

    def compiled() -> Evaluate:
        torch._dynamo.config.capture_dynamic_output_shape_ops = True
        energies = torch.compile(model.compute_from_external_neighbors)

        def evaluate() -> tuple[Tensor, Tensor]:
            energy = energies(*inputs).energies
            return energy, -torch.autograd.grad(energy.sum(), positions)[0]

        return evaluate

    eager = EnergyAndForces(model)
    modes = {
        "eager": lambda: ready(eager),
        "TorchScript": lambda: ready(torch.jit.script(eager)),
        "torch.compile": compiled,
    }
    if settings["networks"] > 1:
        batched = EnergyAndForces(ani(tuple(symbols), settings["networks"]))
        batched.load_state_dict(eager.state_dict())
        batched.requires_grad_(False).eval()
        batched.model.to_infer_model()
        modes["batched"] = lambda: ready(batched)
        modes["batched, TorchScript"] = lambda: ready(torch.jit.script(batched))
    return Entry(modes, count(model), ("torchani",))


if __name__ == "__main__":
    compete(build)
