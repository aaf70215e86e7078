"""Evaluate a NequIP model with random weights.

Runs in an environment of its own, see ``nequip.txt``; started by ``benchmarks/peers_speed.py``.
Sizes are a preset of ``PresetNequIPGNNModel`` (those of NequIP's foundation potentials) or those of
its tutorial configuration. Pairs come from outside, as from its neighbour list transform. Modes:
eager; and AOTInductor, as ``nequip-compile --mode aotinductor`` makes it, which NequIP recommends
(TorchScript it no longer supports from torch 2.10 on), with positions, types and pairs as the input
fields and energy and forces as the output fields.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from nequip.data import AtomicDataDict
from nequip.model import NequIPGNNModel, PresetNequIPGNNModel
from nequip.nn.compile import DictInputOutputWrapper
from nequip.utils.aot import aot_export_model
from nequip.utils.global_state import set_global_state
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor

ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8}
CUTOFF = 5.0
TUTORIAL = {"num_layers": 4, "l_max": 1, "num_features": 32, "parity": True}
TUTORIAL |= {"radial_mlp_depth": 2, "radial_mlp_width": 64}
INPUTS = [
    AtomicDataDict.POSITIONS_KEY,
    AtomicDataDict.EDGE_INDEX_KEY,
    AtomicDataDict.ATOM_TYPE_KEY,
]
OUTPUTS = [AtomicDataDict.TOTAL_ENERGY_KEY, AtomicDataDict.FORCE_KEY]


def nequip(size: str) -> torch.nn.Module:
    """Return the model of a preset, or of the tutorial."""
    shared = {
        "seed": 0,
        "model_dtype": "float32",
        "type_names": list(ELEMENTS),
        "r_max": CUTOFF,
        "avg_num_neighbors": 15.0,
    }
    if size == "tutorial":
        return NequIPGNNModel(**shared, **TUTORIAL)
    return PresetNequIPGNNModel(preset=size, **shared)


def graph(structure: Structure) -> dict[str, Tensor]:
    """Return NequIP's input, with the pairs."""
    types = {number: place for place, number in enumerate(ELEMENTS.values())}
    return {
        AtomicDataDict.POSITIONS_KEY: torch.from_numpy(structure.positions),
        AtomicDataDict.EDGE_INDEX_KEY: torch.from_numpy(structure.pairs(CUTOFF)),
        AtomicDataDict.ATOM_TYPE_KEY: torch.tensor([types[int(z)] for z in structure.numbers]),
    }


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    set_global_state(allow_tf32=False)
    model = nequip(settings["size"]).eval()
    inputs = graph(structure)

    def ready(runs: torch.nn.Module) -> Evaluate:
        def evaluate() -> tuple[Tensor, Tensor]:
            found = runs(dict(inputs))
            return tuple(found[key].detach() for key in OUTPUTS)

        return evaluate

    def compiled() -> Evaluate:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "model.nequip.pt2")
            dims = {name: torch.export.Dim(name, min=2) for name in ("node", "edge")}
            dims["graph"] = torch.export.Dim.STATIC
            aot_export_model(model, "cpu", INPUTS, OUTPUTS, dict(inputs), dims, path)
            package = torch._inductor.aoti_load_package(path)
            return ready(DictInputOutputWrapper(package, INPUTS, OUTPUTS))

    modes = {"eager": lambda: ready(model), "AOTInductor": compiled}
    return Entry(modes, count(model), ("nequip", "e3nn"))


if __name__ == "__main__":
    compete(build)
