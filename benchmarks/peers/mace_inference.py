"""Evaluate a MACE model of the size of MACE-OFF23 small, with random weights.

Runs in an environment of its own, see ``mace.txt``; started by ``benchmarks/peers_speed.py``. Sizes
are those that Kovács et al., arXiv 2312.15211, give: 96x0e features, two interactions, correlation
3, spherical harmonics up to 3, 4.5 angstrom; the rest are MACE's defaults. Modes: eager, as
``MACECalculator`` runs it; ``torch.compile``, its ``compile_mode``; and TorchScript, as
``mace_create_lammps_model`` writes it.
"""

from typing import Any

from mace.calculators import LAMMPS_MACE  # sets a variable that importing e3nn 0.4.4 needs

# isort: split
import numpy as np
import torch
from e3nn import o3
from e3nn.util import jit
from mace.modules import ScaleShiftMACE, interaction_classes
from mace.tools.compile import prepare
from mace.tools.scripts_utils import extract_model
from peers.inference import Entry, Evaluate, Structure, compete, count
from torch import Tensor

CUTOFF = 4.5
ELEMENTS = [1, 6, 7, 8, 9, 15, 16, 17, 35, 53]


def mace_off_small() -> ScaleShiftMACE:
    """Return the model."""
    block = interaction_classes["RealAgnosticResidualInteractionBlock"]
    return ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("96x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(ELEMENTS)),
        avg_num_neighbors=15.0,
        atomic_numbers=ELEMENTS,
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def graph(structure: Structure) -> dict[str, Tensor]:
    """Return MACE's input, with the pairs."""
    edges = torch.from_numpy(structure.pairs(CUTOFF))
    n_atoms = len(structure.numbers)
    elements = torch.from_numpy(np.searchsorted(ELEMENTS, structure.numbers))
    return {
        "positions": torch.from_numpy(structure.positions).float(),
        "node_attrs": torch.nn.functional.one_hot(elements, len(ELEMENTS)).float(),
        "edge_index": edges,
        "shifts": torch.zeros((edges.shape[1], 3)),
        "unit_shifts": torch.zeros((edges.shape[1], 3)),
        "cell": torch.zeros((3, 3)),
        "batch": torch.zeros(n_atoms, dtype=torch.int64),
        "ptr": torch.tensor([0, n_atoms]),
        "head": torch.tensor([0]),
    }


def build(structure: Structure, settings: dict[str, Any]) -> Entry:
    """Return the model with its modes."""
    torch.set_default_dtype(torch.float32)
    model = mace_off_small().requires_grad_(False).eval()

    def eager() -> Evaluate:
        inputs = graph(structure)

        def evaluate() -> tuple[Tensor, Tensor]:
            found = model(dict(inputs))
            return found["energy"], found["forces"]

        return evaluate

    def compiled() -> Evaluate:
        copy = prepare(extract_model)(model=model, map_location="cpu").requires_grad_(False)
        runs = torch.compile(copy, mode="default", fullgraph=True)
        inputs = graph(structure)
        inputs["positions"].requires_grad_(True)

        def evaluate() -> tuple[Tensor, Tensor]:
            found = runs(dict(inputs), training=True)
            return found["energy"].detach(), found["forces"].detach()

        return evaluate

    def scripted() -> Evaluate:
        runs = jit.compile(LAMMPS_MACE(model))
        inputs, local = graph(structure), torch.ones(len(structure.numbers))

        def evaluate() -> tuple[Tensor, Tensor]:
            found = runs(dict(inputs), local, compute_virials=False)
            return found["total_energy_local"], found["forces"]

        return evaluate

    modes = {"eager": eager, "torch.compile": compiled, "TorchScript": scripted}
    return Entry(modes, count(model), ("mace-torch", "e3nn"))


if __name__ == "__main__":
    compete(build)
