"""A closed form deployed as it is: how a network's energy changes with its parameters."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from idle_md.deploy.core import DeployedCore, extract
from idle_md.nn import Potential
from idle_md.nn.parameter_groups import free_parameters
from idle_md.nn.reverse import by_number

STEP = 1e-4  # length of the step in the parameters, half of it each way


class ClosedFormCore(nn.Module):
    """The difference quotient of two cores whose networks are a small step apart; float64 alone.

    Parameters
    ----------
    start, end
        The cores.
    constants
        Per atomic number, in eV, float64.
    step
        How far apart they are, in lengths of the direction.
    """

    def __init__(
        self, start: DeployedCore, end: DeployedCore, constants: Tensor, step: float
    ) -> None:
        super().__init__()
        self.start = start.gradient
        self.end = end.gradient
        self.constants = nn.Buffer(constants)
        self.per_step = 1.0 / step
        self.metadata = ""  # as in DeployedCore

    def forward(
        self, species: Tensor, edge_index: Tensor, edge_vectors: Tensor, n_owned: int
    ) -> tuple[Tensor, Tensor]:
        """Return atomic energies in eV and edge gradients in eV/angstrom to add to the low level.

        Inputs and outputs are those of :meth:`DeployedCore.forward`: (N,) float64 and (E, 3).
        """
        with torch.no_grad():
            before, slope_before = self.start(species, edge_index, edge_vectors, n_owned)
            after, slope_after = self.end(species, edge_index, edge_vectors, n_owned)
            total = (after - before) * self.per_step + self.constants.index_select(0, species)
            gradients = (slope_after - slope_before) * self.per_step
        return total, gradients


@torch.no_grad()
def extract_closed_form(base: Potential, kept: Mapping[str, Any]) -> ClosedFormCore:
    """Return what a closed form adds to a level that is calculated live.

    Parameters
    ----------
    base
        The model, of the corrected level alone.
    kept
        ``direction`` (P,) in its parameters and ``constants`` by atomic number, as a checkpoint
        keeps them.
    """
    direction = kept["direction"].double()
    step = STEP / max(float(direction.norm()), 1e-12)
    ends = []
    for sign in (-0.5, 0.5):
        moved = copy.deepcopy(base).to_precision(torch.float64)
        parameters = free_parameters(moved)
        parts = direction.split([parameter.numel() for parameter in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.add_(part.view_as(parameter), alpha=sign * step)
        ends.append(extract(moved, base.fidelities[0]))
    elements = base.backbone.elements
    constants = by_number(kept["constants"][elements].double(), elements)
    return ClosedFormCore(ends[0], ends[1], constants, step).eval()
